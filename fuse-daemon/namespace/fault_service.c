// SPDX-License-Identifier: GPL-2.0-or-later
/* Serves faults in files with demand allocation, and looks at the mappings that the backend reports. */
#include "namespace/fault_service.h"

#include <errno.h>

#include "backend/backend.h"
#include "base/log.h"
#include "base/page_order.h"
#include "base/qemu_name.h"
#include "file/unlinked_mapped.h"
#include "pool/numa_policy.h"

/* Before another attempt to serve a fault while the host lacks memory. */
#define PAUSE (G_TIME_SPAN_SECOND / 10)

struct fault_service {
	struct namespace *ns;
	const struct storage *storage;
	GThreadPool *pool;
	gint64 patience; /* us */
	GMutex lock;
	bool stopping; /* no job is queued again; protected by @lock */
};

enum job_kind {
	JOB_FAULT,
	JOB_PUNCHED,  /* a process punched memory in the range that fault names */
	JOB_UNPINNED, /* devices no longer hold what the file had given up */
	JOB_UNALIGNED,
	JOB_REFUSED, /* a private mapping */
};

struct job {
	enum job_kind kind;
	gint64 end; /* of a FAULT that waits for memory of the host: when its patience ends; 0: it has not waited */
	struct pool_wait wait; /* of a FAULT that waits for memory of the pool */
	union {
		struct backend_fault fault;
		struct backend_mapping mapping; /* UNALIGNED, REFUSED */
		struct unpinned unpinned;       /* UNPINNED */
	};
};

static uint64_t id_of(const struct job *job)
{
	switch (job->kind) {
	case JOB_UNALIGNED:
	case JOB_REFUSED:
		return job->mapping.id;
	case JOB_UNPINNED:
		return job->unpinned.ino;
	default:
		return job->fault.id;
	}
}

/* Only QEMU can be told the alignment. A vhost-user server, to which QEMU sends its descriptor, has no option for it. */
static void tell_unaligned(struct namespace *ns, const struct file *file, const struct backend_mapping *mapping)
{
	static struct log_limit qemu = LOG_LIMIT_INIT, others = LOG_LIMIT_INIT;
	uint64_t wanted = page_order_wanted(file_order(file), file_unit(file), mapping->length);
	const char *allowed = mapping->page_size < DMEMFS_PAGE_2M ? "4K" : "2M";
	bool advise = qemu_name_is(mapping->comm);
	g_autofree char *name = NULL;

	if (mapping->page_size >= wanted ||
	    !log_passes(advise ? &qemu : &others, advise ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO))
		return;
	name = namespace_describe(ns, mapping->id);
	if (advise)
		log_warning("%s: %s (pid %d) maps it at an address that allows pages of %s only: add %s to QEMU's "
		            "memory-backend-file; with libvirt use the emulator qemu-aligned, and for memory that is "
		            "plugged in later see dmemfs-guests(7)",
		            name, mapping->comm, mapping->pid, allowed,
		            wanted > DMEMFS_PAGE_2M ? "align=1G" : "align=2M or align=1G");
	else
		log_info("%s: %s (pid %d) maps it at an address that allows pages of %s only", name, mapping->comm,
		         mapping->pid, allowed);
}

/* on_refused() has applied the rate limit. */
static void tell_refused(struct namespace *ns, const struct backend_mapping *mapping)
{
	g_autofree char *name = namespace_describe(ns, mapping->id);

	log_warning("%s: %s (pid %d) was refused a private mapping: use share=on", name, mapping->comm, mapping->pid);
}

static int work(struct namespace *ns, struct file *file, struct job *job)
{
	const struct backend_fault *fault = &job->fault;

	switch (job->kind) {
	case JOB_PUNCHED:
		return file_demand_punched(file, fault->offset, fault->offset + fault->length);
	case JOB_UNPINNED:
		file_unpinned(file, &job->unpinned);
		return 0;
	case JOB_UNALIGNED:
		tell_unaligned(ns, file, &job->mapping);
		return 0;
	case JOB_REFUSED:
		tell_refused(ns, &job->mapping);
		return 0;
	case JOB_FAULT:
	default:
		return file_demand_fault(file, fault, &job->wait);
	}
}

static int work_on_unlinked_mapped(const struct fault_service *service, struct job *job)
{
	const struct storage *storage = service->storage;
	struct file *file = unlinked_mapped_use(storage->unlinked_mapped, id_of(job));
	int err;

	if (!file)
		return -ESTALE;
	err = work(service->ns, file, job);
	unlinked_mapped_put(storage, id_of(job));
	return err;
}

static const char *remedy(int err)
{
	switch (err) {
	case -ENOSPC:
		return ": there is no memory left for it: remove files, or lower overcommit; memory that devices hold is not "
		       "free (dmemfsctl status)";
	case -ENOMEM:
		return ": the host's kernel has no memory of its own left: leave it more";
	default:
		return "";
	}
}

/* -EEXIST: the hole has memory by now, or is gone; the process repeats its access. Any other error: it gets SIGBUS. */
static void answer(const struct fault_service *service, const struct backend_fault *fault, int err)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	const struct storage *storage = service->storage;

	if (err != -EEXIST && log_passes(&limit, LOG_LEVEL_WARNING)) {
		g_autofree char *name = namespace_describe(service->ns, fault->id);

		log_warning("%s: %s (pid %d) gets SIGBUS at offset %" G_GUINT64_FORMAT ": %s%s", name, fault->comm,
		            fault->pid, fault->offset, g_strerror(-err), remedy(err));
	}
	storage->ops->answer(storage->backend, fault->id, fault->offset, fault->length, err == -EEXIST ? 0 : err);
}

static void tell_waiting(const struct fault_service *service, const struct backend_fault *fault)
{
	static struct log_limit limit = LOG_LIMIT_INIT;

	if (log_passes(&limit, LOG_LEVEL_WARNING)) {
		g_autofree char *name = namespace_describe(service->ns, fault->id);

		log_warning("%s: %s (pid %d) waits at offset %" G_GUINT64_FORMAT
		            ": the host's kernel has no memory of its own left",
		            name, fault->comm, fault->pid, fault->offset);
	}
}

static void forget(gpointer data)
{
	struct job *job = data;

	if (job->kind == JOB_FAULT)
		numa_policy_unref(job->fault.policy);
	g_free(job);
}

static int serve(const struct fault_service *service, struct job *job)
{
	struct file *file;
	int err = namespace_get_file(service->ns, id_of(job), &file);

	if (!err) {
		err = work(service->ns, file, job);
		namespace_put_file(service->ns, id_of(job));
	} else if (job->kind == JOB_UNPINNED) {
		storage_unpinned(service->storage, &job->unpinned);
	} else {
		err = work_on_unlinked_mapped(service, job);
	}
	return err;
}

/* Queues @job again, behind the others. A job that waits when the service stops is dropped, without an answer. */
static void queue_again(struct fault_service *service, struct job *job)
{
	g_mutex_lock(&service->lock);
	if (service->stopping)
		forget(job);
	else
		g_thread_pool_push(service->pool, job, NULL);
	g_mutex_unlock(&service->lock);
}

/*
 * Queues @job again after a pause, behind the others: those may need no memory of the host, and shall not wait for it. False: its
 * patience is at its end.
 */
static bool try_later(struct fault_service *service, struct job *job)
{
	gint64 now = g_get_monotonic_time();

	if (!job->end) {
		tell_waiting(service, &job->fault);
		job->end = now + service->patience;
	}
	if (now >= job->end)
		return false;
	g_usleep(PAUSE);
	queue_again(service, job);
	return true;
}

/*
 * -ENOMEM: the kernel has no memory to map the unit by, which it zeroes. That does not last, because the kernel frees memory then: no
 * reason to kill the guest at once. -ERESTART: the next daemon gets the fault again. -EALREADY: it waits for memory of the
 * pool, and has waited for a moment.
 */
static void run(gpointer data, gpointer user_data)
{
	struct fault_service *service = user_data;
	struct job *job = data;
	int err = serve(service, job);

	if (job->kind == JOB_FAULT && err == -EALREADY) {
		queue_again(service, job);
		return;
	}
	if (job->kind == JOB_FAULT && err == -ENOMEM && try_later(service, job))
		return;
	if (job->kind == JOB_FAULT && err && err != -ERESTART)
		answer(service, &job->fault, err);
	forget(job);
}

static void push(struct fault_service *service, const struct job *job)
{
	g_thread_pool_push(service->pool, g_memdup2(job, sizeof(*job)), NULL);
}

static void on_fault(const struct backend_fault *fault, void *service)
{
	push(service, &(struct job){ .kind = JOB_FAULT, .fault = *fault });
}

static void on_punched(uint64_t id, uint64_t offset, uint64_t length, void *service)
{
	push(service, &(struct job){ .kind = JOB_PUNCHED, .fault = { .id = id, .offset = offset, .length = length } });
}

void fault_service_unpinned(const struct unpinned *memory, void *service)
{
	push(service, &(struct job){ .kind = JOB_UNPINNED, .unpinned = *memory });
}

static void on_unaligned(const struct backend_mapping *mapping, void *service)
{
	push(service, &(struct job){ .kind = JOB_UNALIGNED, .mapping = *mapping });
}

/* Any process that may open a file can cause these at any rate: without the limit here the jobs could pile up. */
static void on_refused(const struct backend_mapping *mapping, void *service)
{
	static struct log_limit limit = LOG_LIMIT_INIT;

	if (log_passes(&limit, LOG_LEVEL_WARNING))
		push(service, &(struct job){ .kind = JOB_REFUSED, .mapping = *mapping });
}

struct fault_service *fault_service_start(struct namespace *ns, const struct storage *storage, unsigned threads,
                                          gint64 patience)
{
	static const struct backend_demand_fns fns = {
		.fault = on_fault, .punched = on_punched, .unaligned = on_unaligned, .refused = on_refused
	};
	struct fault_service *service;

	if (!storage->ops->set_demand)
		return NULL;
	service = g_new0(struct fault_service, 1);
	service->ns = ns;
	service->storage = storage;
	service->patience = patience;
	g_mutex_init(&service->lock);
	service->pool = g_thread_pool_new_full(run, service, forget, (gint)threads, FALSE, NULL);
	storage->ops->set_demand(storage->backend, &fns, service);
	return service;
}

void fault_service_stop(struct fault_service *service)
{
	if (!service)
		return;
	g_mutex_lock(&service->lock);
	service->stopping = true;
	g_mutex_unlock(&service->lock);
	g_thread_pool_free(service->pool, TRUE, TRUE);
	g_mutex_clear(&service->lock);
	g_free(service);
}
