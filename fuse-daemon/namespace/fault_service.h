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

/* How long a fault waits while the host's kernel has no memory to map by what it zeroes, in us. Then it is SIGBUS. */
#define FAULT_SERVICE_PATIENCE (10 * G_TIME_SPAN_SECOND)

/*
 * Starts @threads threads. Keeps @ns and @storage, which must outlive the service. Returns NULL when the backend has no
 * demand allocation. @patience: FAULT_SERVICE_PATIENCE.
 */
struct fault_service *fault_service_start(struct namespace *ns, const struct storage *storage, unsigned threads,
                                          gint64 patience);
/* For struct pins_poll, with the service as @data. A thread of the service does the work, because it takes the file's lock. */
void fault_service_unpinned(const struct unpinned *memory, void *service);
/*
 * Waits for the running jobs and drops the waiting ones, also faults that wait for the host, which the next daemon gets.
 * Then frees @service. The caller must not call the backend's dispatch() any more. NULL is fine.
 */
void fault_service_stop(struct fault_service *service);

#endif
