// SPDX-License-Identifier: GPL-2.0-or-later
/* Serves faults in files with demand allocation. */
#include "namespace/fault_service.h"

#include <errno.h>

#include "backend/backend.h"
#include "base/log.h"
#include "file/unlinked_mapped.h"
#include "pool/numa_policy.h"

struct fault_service {
	struct namespace *ns;
	const struct storage *storage;
	GThreadPool *pool;
};

enum job_kind {
	JOB_FAULT,
	JOB_PUNCHED,  /* a process punched memory in the range that fault names */
	JOB_UNPINNED, /* devices no longer hold fault.length bytes that the file had given up */
};

struct job {
	struct backend_fault fault;
	enum job_kind kind;
};

static int work(struct file *file, const struct job *job)
{
	const struct backend_fault *fault = &job->fault;

	switch (job->kind) {
	case JOB_PUNCHED:
		return file_demand_punched(file, fault->offset, fault->offset + fault->length);
	case JOB_UNPINNED:
		file_unpinned(file, fault->length);
		return 0;
	case JOB_FAULT:
	default:
		return file_demand_fault(file, fault);
	}
}

static int work_on_unlinked_mapped(const struct storage *storage, const struct job *job)
{
	struct file *file;
	int err = -ESTALE;

	unlinked_mapped_lock(storage->unlinked_mapped);
	file = unlinked_mapped_find(storage->unlinked_mapped, job->fault.id);
	if (file)
		err = work(file, job);
	unlinked_mapped_unlock(storage->unlinked_mapped);
	return err;
}

static const char *remedy(int err)
{
	return err == -ENOSPC
	               ? ": there is no memory left for it: remove files, or lower overcommit; memory that devices "
	                 "hold is not free (dmemfsctl status)"
	               : "";
}

/* -EEXIST: the hole has memory by now, or is gone; the process repeats its access. Any other error: it gets SIGBUS. */
static void answer(const struct storage *storage, const struct backend_fault *fault, int err)
{
	static struct log_limit limit = LOG_LIMIT_INIT;

	if (err != -EEXIST)
		log_limited(&limit, LOG_LEVEL_WARNING,
		            "inode %" G_GUINT64_FORMAT ": %s (pid %d) gets SIGBUS at offset %" G_GUINT64_FORMAT
		            ": %s%s",
		            fault->id, fault->comm, fault->pid, fault->offset, g_strerror(-err), remedy(err));
	storage->ops->answer(storage->backend, fault->id, fault->offset, fault->length, err == -EEXIST ? 0 : err);
}

static void run(gpointer data, gpointer user_data)
{
	const struct fault_service *service = user_data;
	struct job *job = data;
	struct file *file;
	int err = namespace_get_file(service->ns, job->fault.id, &file);

	if (!err) {
		err = work(file, job);
		namespace_put_file(service->ns, job->fault.id);
	} else if (job->kind == JOB_UNPINNED) {
		storage_unpinned(service->storage, job->fault.id, job->fault.length);
	} else {
		err = work_on_unlinked_mapped(service->storage, job);
	}
	if (err && job->kind == JOB_FAULT)
		answer(service->storage, &job->fault, err);
	numa_policy_unref(job->fault.policy);
	g_free(job);
}

static void push(struct fault_service *service, const struct job *job)
{
	g_thread_pool_push(service->pool, g_memdup2(job, sizeof(*job)), NULL);
}

static void on_fault(const struct backend_fault *fault, void *service)
{
	push(service, &(struct job){ .fault = *fault });
}

static void on_punched(uint64_t id, uint64_t offset, uint64_t length, void *service)
{
	push(service, &(struct job){ .fault = { .id = id, .offset = offset, .length = length }, .kind = JOB_PUNCHED });
}

void fault_service_unpinned(uint64_t ino, uint64_t bytes, void *service)
{
	push(service, &(struct job){ .fault = { .id = ino, .length = bytes }, .kind = JOB_UNPINNED });
}

static void forget(gpointer data)
{
	struct job *job = data;

	numa_policy_unref(job->fault.policy);
	g_free(job);
}

struct fault_service *fault_service_start(struct namespace *ns, const struct storage *storage, unsigned threads)
{
	static const struct backend_demand_fns fns = { .fault = on_fault, .punched = on_punched };
	struct fault_service *service;

	if (!storage->ops->set_demand)
		return NULL;
	service = g_new0(struct fault_service, 1);
	service->ns = ns;
	service->storage = storage;
	service->pool = g_thread_pool_new_full(run, service, forget, (gint)threads, FALSE, NULL);
	storage->ops->set_demand(storage->backend, &fns, service);
	return service;
}

void fault_service_stop(struct fault_service *service)
{
	if (!service)
		return;
	g_thread_pool_free(service->pool, TRUE, TRUE);
	g_free(service);
}
