/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Serves files with demand allocation. The backend reports faults in holes, and memory that processes punched out of
 * their mappings. Each report becomes a job of a small thread pool, which finds the file and gives it memory or takes
 * the punched memory back. The backend limits how many faults are reported at a time. It reports faults that no
 * daemon has answered to the next daemon again. Files whose pinned memory was freed (pins.h) become jobs, too, and so do
 * mappings that the backend reports, of any file: the log tells of those that do not get the pages that they could have.
 */
#ifndef DMEMFS_FAULT_SERVICE_H
#define DMEMFS_FAULT_SERVICE_H

#include "namespace/namespace.h"

struct fault_service;

/*
 * Starts @threads threads. Keeps @ns and @storage, which must outlive the service. Returns NULL when the backend has no
 * demand allocation.
 */
struct fault_service *fault_service_start(struct namespace *ns, const struct storage *storage, unsigned threads);
/* For struct pins_poll, with the service as @data. A thread of the service does the work, because it takes the file's lock. */
void fault_service_unpinned(const struct unpinned *memory, void *service);
/*
 * Waits for the running jobs and drops the waiting ones, then frees @service. The caller must not call the backend's
 * dispatch() any more. NULL is fine.
 */
void fault_service_stop(struct fault_service *service);

#endif
