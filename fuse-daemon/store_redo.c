// SPDX-License-Identifier: GPL-2.0-or-later
#include "store_redo.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "boot_id.h"
#include "log.h"

/* Bytes of a half: some hundred transactions, which are applied at a time. */
#define HALF_SIZE (256 << 10)
/* Bytes: keeps the halves off the header's page. */
#define HALVES_AT 4096
#define FILE_SIZE (HALVES_AT + 2 * HALF_SIZE)
/* Of records; numbers in them are in the machine's own order, as the file does not leave it. */
#define ALIGNMENT 8

static const char file_magic[8] = "dmemredo";
#define RECORD_MAGIC 0x6f646572 /* "redo" */
/* Of the file and of what rows look like. A later program reads those of earlier ones. */
#define FORMAT 1

struct header {
	char magic[8];
	uint32_t format;
	uint32_t half_size;
	struct store_mark mark;
	char boot[40]; /* /proc/sys/kernel/random/boot_id, padded with NUL */
	uint32_t reserved;
	uint32_t sum; /* CRC-32 of all before it */
};

struct record {
	uint32_t magic;
	uint32_t size; /* of the rows that follow */
	uint64_t number;
	uint32_t reserved;
	uint32_t sum; /* CRC-32 of all before it, and of the rows */
};

struct redo {
	char *path;
	int fd;
	unsigned half;      /* that is appended to */
	size_t used;        /* bytes of it */
	GByteArray *buffer; /* one record, for one write */
};

static size_t record_size(size_t rows)
{
	return (sizeof(struct record) + rows + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static uint32_t record_sum(const struct record *record, const void *rows)
{
	uLong sum = crc32(0, (const Bytef *)record, offsetof(struct record, sum));

	return (uint32_t)crc32(sum, rows, record->size);
}

static void read_boot(char boot[static 40])
{
	g_autofree char *id = boot_id();

	memset(boot, 0, 40);
	if (id)
		g_strlcpy(boot, id, 40);
}

G_GNUC_PRINTF(4, 5)
static bool fail(GError **error, enum store_error code, const char *path, const char *format, ...)
{
	g_autofree char *what = NULL;
	va_list args;

	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, STORE_ERROR, code, "%s: %s", path, what);
	return false;
}

/* What is known of the log while it is read. */
struct reader {
	const char *path;
	uint64_t applied;
	bool machine_died; /* since it was written */
	uint64_t last;     /* number of the last transaction that was taken */
	bool ended;        /* at a hole: nothing is taken any more */
	GByteArray *rows;
};

/* The whole record at @at, or NULL. */
static const struct record *look(const guint8 *half, size_t at)
{
	const struct record *record = (const void *)(half + at);

	if (at + sizeof(*record) > HALF_SIZE || record->magic != RECORD_MAGIC || record->size > HALF_SIZE ||
	    at + record_size(record->size) > HALF_SIZE || record->sum != record_sum(record, record + 1))
		return NULL;
	return record;
}

/* The number of its first transaction; 0: it has none. */
static uint64_t first_number(const guint8 *half)
{
	const struct record *record = look(half, 0);

	return record ? record->number : 0;
}

/* After its end a half has nothing but what is older. */
static bool has_later(const guint8 *half, size_t at, uint64_t number)
{
	for (; at + sizeof(struct record) <= HALF_SIZE; at += ALIGNMENT) {
		const struct record *record = look(half, at);

		if (record && record->number > number)
			return true;
	}
	return false;
}

static bool hole(struct reader *reader, GError **error)
{
	if (!reader->machine_died)
		return fail(error, STORE_ERROR_DAMAGED, reader->path, "damaged: change %" PRIu64 " is missing", reader->last + 1);
	if (!reader->ended)
		log_warning("%s: the machine went down before all changes reached the disk: what came after change %" PRIu64 " is lost",
		            reader->path, reader->last);
	reader->ended = true;
	return true;
}

static bool read_half(struct reader *reader, const guint8 *half, GError **error)
{
	uint64_t number = 0;
	size_t at = 0;

	for (const struct record *record; (record = look(half, at)) && record->number > number;) {
		number = record->number;
		at += record_size(record->size);
		if (number <= reader->last || reader->ended)
			continue;
		if (number != reader->last + 1)
			return hole(reader, error);
		g_byte_array_append(reader->rows, (const guint8 *)(record + 1), record->size);
		reader->last = number;
	}
	if (has_later(half, at, MAX(number, reader->applied)))
		return hole(reader, error);
	return true;
}

static bool check_header(const char *path, const struct header *header, gsize size, const struct store_mark *mark, GError **error)
{
	if (size != FILE_SIZE || memcmp(header->magic, file_magic, sizeof(file_magic)) != 0 || header->half_size != HALF_SIZE ||
	    header->sum != crc32(0, (const Bytef *)header, offsetof(struct header, sum)))
		return fail(error, STORE_ERROR_DAMAGED, path, "damaged: not a redo log");
	if (header->format != FORMAT)
		return fail(error, STORE_ERROR_FOREIGN, path, "written by a newer dmemfsd: install that version again");
	if (memcmp(&header->mark, mark, sizeof(*mark)) != 0)
		return fail(error, STORE_ERROR_FOREIGN, path, "belongs to another database: move it to that one, or away");
	return true;
}

/* One whose maker died before it was whole: a file that is all zero has no transaction. */
static bool is_blank(const char *contents, gsize size)
{
	for (gsize i = 0; i < size; i++) {
		if (contents[i])
			return false;
	}
	return true;
}

bool redo_read(const char *path, const struct store_mark *mark, uint64_t applied, GByteArray *rows, uint64_t *last,
               GError **error)
{
	struct reader reader = { .path = path, .applied = applied, .last = applied, .rows = rows };
	g_autofree char *contents = NULL;
	g_autoptr(GError) reason = NULL;
	const struct header *header;
	const guint8 *halves[2];
	char boot[40];
	gsize size;

	*last = applied;
	if (!g_file_get_contents(path, &contents, &size, &reason)) {
		if (g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_NOENT))
			return true;
		return fail(error, STORE_ERROR_IO, path, "cannot read: %s", reason->message);
	}
	if (is_blank(contents, size))
		return true;
	header = (const void *)contents;
	if (!check_header(path, header, size, mark, error))
		return false;
	read_boot(boot);
	reader.machine_died = strncmp(boot, header->boot, sizeof(boot)) != 0;
	halves[0] = (const guint8 *)contents + HALVES_AT;
	halves[1] = halves[0] + HALF_SIZE;
	if (first_number(halves[0]) > first_number(halves[1])) {
		const guint8 *other = halves[0];

		halves[0] = halves[1];
		halves[1] = other;
	}
	if (!read_half(&reader, halves[0], error) || !read_half(&reader, halves[1], error))
		return false;
	*last = reader.last;
	return true;
}

static int write_all(int fd, const void *bytes, size_t size, off_t at)
{
	while (size > 0) {
		ssize_t written = pwrite(fd, bytes, size, at);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		bytes = (const char *)bytes + written;
		size -= (size_t)written;
		at += written;
	}
	return 0;
}

/* Old transactions go first: a half-made file is blank, or has the header of one that is whole. */
static int format(int fd, const struct store_mark *mark)
{
	struct header header = { .format = FORMAT, .half_size = HALF_SIZE, .mark = *mark };
	int err;

	memcpy(header.magic, file_magic, sizeof(file_magic));
	read_boot(header.boot);
	header.sum = (uint32_t)crc32(0, (const Bytef *)&header, offsetof(struct header, sum));
	if (ftruncate(fd, 0) < 0)
		return -errno;
	err = -posix_fallocate(fd, 0, FILE_SIZE);
	return err ? err : write_all(fd, &header, sizeof(header), 0);
}

struct redo *redo_create(const char *path, const struct store_mark *mark, GError **error)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = fd < 0 ? -errno : format(fd, mark);

	if (err) {
		fail(error, STORE_ERROR_IO, path, "cannot write: %s", g_strerror(-err));
		if (fd >= 0) {
			close(fd);
			unlink(path);
		}
		return NULL;
	}

	struct redo *redo = g_new0(struct redo, 1);

	redo->path = g_strdup(path);
	redo->fd = fd;
	redo->buffer = g_byte_array_new();
	return redo;
}

bool redo_fits(const struct redo *redo, size_t size)
{
	return redo->used + record_size(size) <= HALF_SIZE;
}

bool redo_could_fit(size_t size)
{
	return record_size(size) <= HALF_SIZE;
}

bool redo_is_busy(const struct redo *redo)
{
	return redo->used > HALF_SIZE / 2;
}

int redo_append(struct redo *redo, uint64_t number, const GByteArray *rows)
{
	static const guint8 padding[ALIGNMENT];
	struct record record = { .magic = RECORD_MAGIC, .size = rows->len, .number = number };
	size_t size = record_size(rows->len);
	int err;

	record.sum = record_sum(&record, rows->data);
	g_byte_array_set_size(redo->buffer, 0);
	g_byte_array_append(redo->buffer, (const guint8 *)&record, sizeof(record));
	g_byte_array_append(redo->buffer, rows->data, rows->len);
	g_byte_array_append(redo->buffer, padding, (guint)(size - redo->buffer->len));
	err = write_all(redo->fd, redo->buffer->data, size, (off_t)(HALVES_AT + redo->half * HALF_SIZE + redo->used));
	if (!err)
		redo->used += size;
	return err;
}

void redo_switch(struct redo *redo)
{
	redo->half = 1 - redo->half;
	redo->used = 0;
}

void redo_close(struct redo *redo, bool keep)
{
	if (!redo)
		return;
	if (!keep)
		unlink(redo->path);
	close(redo->fd);
	g_byte_array_unref(redo->buffer);
	g_free(redo->path);
	g_free(redo);
}
