/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Serves those who touch memory that is to come: each fault and each punch that the backend tells of becomes a job for
 * one of a few threads, which finds the file and answers. The backend bounds how many faults it tells of; those that
 * are not answered when the daemon ends are told to the next one.
 */
#ifndef DMEMFS_FAULT_SERVICE_H
#define DMEMFS_FAULT_SERVICE_H

#include "namespace/namespace.h"

struct fault_service;

/* @threads serve at a time. NULL: the backend has no demand allocation. */
struct fault_service *fault_service_start(struct namespace *ns, const struct storage *storage, unsigned threads);
/* No job runs or begins any more when it returns. No dispatch() of the backend may follow. NULL is fine. */
void fault_service_stop(struct fault_service *service);

#endif
