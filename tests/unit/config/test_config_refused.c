// SPDX-License-Identifier: GPL-2.0-or-later
/* Configurations that are refused, and the error message of each. */
#include <glib.h>
#include <glib/gstdio.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "unit/config/config_file.h"

#define NOBODY  65534 /* passwd(5) of Debian */
#define TEXT_63 "123456789012345678901234567890123456789012345678901234567890123"
#define PFN     "[daemon]\nbackend=pfn\n"
#define REGION  "[daemon]\n[region a]\n"
#define QUOTA   "[daemon]\n[quota a]\n"
#define RANGE   "start=0\nsize=2M\n"
#define AUTO    "[region a]\nstart=auto\n"

static const struct bad {
	const char *name;
	const char *text;
	const char *fragments[3]; /* all are in the message: place, what is wrong, remedy */
} bads[] = {
	/* the file as such */
	{ "empty", "", { ": [daemon]: ", "the group is missing", "add the line [daemon]" } },
	{ "comments-only", "# nothing\n\n", { "the group is missing" } },
	{ "no-daemon", "[region a]\nstart=0\nsize=2M\n", { "the group is missing" } },
	{ "no-equals",
	  "[daemon]\nsize=2M\nmountpoint\n",
	  { ":3: ", "the line \"mountpoint\" has no '='", "KEY=VALUE" } },
	{ "semicolon-comment", "[daemon]\n; comment\n", { ":2: ", "has no '='", "# before a comment" } },
	{ "no-key", "[daemon]\n =x\n", { ":2: ", "no key before '='" } },
	{ "no-group", "size=2M\n", { ":1: size: ", "before the first group", "[daemon]" } },
	{ "byte-order-mark", "\xef\xbb\xbf[daemon]\n", { ":1: ", "has no '='" } },
	{ "group-unclosed", "[daemon\n", { ":1: ", "is not a group", "[NAME]" } },
	{ "group-with-comment", "[daemon] # x\n", { ":1: ", "is not a group", "nothing after it" } },
	{ "group-empty", "[]\n", { ":1: ", "is not the name of a group" } },
	{ "group-brackets", "[[daemon]]\n", { ":1: ", "is not the name of a group" } },
	{ "group-control-character", "[dae\001mon]\n", { "roup" } },
	{ "not-utf8", "[daemon]\n\nmountpoint=/\xff\n", { ":3: ", "not UTF-8", "save the file as UTF-8" } },
	{ "truncated-utf8", "[daemon]\nmountpoint=/\xc3", { ":2: ", "not UTF-8" } },
	/* names */
	{ "unknown-group", "[daemon]\n[demon]\n", { ":2: [demon]: ", "unknown group", "[region NAME]" } },
	{ "group-case", "[Daemon]\n", { ":1: [Daemon]: ", "unknown group" } },
	{ "group-spaces", "[ daemon ]\n", { "[ daemon ]: ", "unknown group" } },
	{ "region-without-name", "[daemon]\n[region]\n", { ":2: [region]: ", "unknown group", "[region NAME]" } },
	{ "region-name-empty", "[daemon]\n[region ]\n" RANGE, { ":2: [region ]: ", "not a name", "1 to 63 letters" } },
	{ "region-name-slash", "[daemon]\n[region a/b]\n" RANGE, { "[region a/b]: ", "not a name" } },
	{ "region-name-space", "[daemon]\n[region a b]\n" RANGE, { "[region a b]: ", "not a name" } },
	{ "region-name-long", "[daemon]\n[region x" TEXT_63 "]\n" RANGE, { "not a name", "63" } },
	{ "unknown-key",
	  "[daemon]\nmount-point=/a\n",
	  { ":2: [daemon] mount-point: ", "unknown key, did you mean \"mountpoint\"?", "mountpoint, state-dir" } },
	{ "key-begun", "[daemon]\nmetadata=1G\n", { ":2: [daemon] metadata: unknown key: " } },
	{ "unknown-region-key",
	  REGION "start=0\nsize=2M\nlength=2M\n",
	  { ":5: [region a] length: ", "start, size, node" } },
	{ "unknown-quota-key",
	  QUOTA "path=/a\nmax-files=1\nbytes=2M\n",
	  { ":5: [quota a] bytes: ", "path, max-bytes, max-files" } },
	{ "key-of-another-group", "[daemon]\nstart=0\n", { ":2: [daemon] start: ", "unknown key" } },
	{ "key-translated", "[daemon]\nsize[de]=2M\n", { ":2: [daemon] size[de]: ", "unknown key" } },
	{ "duplicate-key",
	  "[daemon]\nsize=2M\n# x\nsize=2M\n",
	  { ":4: [daemon] size: ", "given twice, first in line 2", "remove" } },
	{ "duplicate-key-spaces", "[daemon]\nsize=2M\n size =4M\n", { ":3: [daemon] size: ", "given twice" } },
	{ "duplicate-group",
	  "[daemon]\n[region a]\n" RANGE "[daemon]\n",
	  { ":5: [daemon]: ", "given twice, first in line 1" } },
	{ "duplicate-region", REGION "start=0\nsize=2M\n[region a]\n", { ":5: [region a]: ", "given twice" } },
	/* values */
	{ "no-value", "[daemon]\nsize=\n", { ":2: [daemon] size: ", "has no value", "remove the line" } },
	{ "bad-escape", "[daemon]\nmountpoint=/a\\q\n", { ":2: [daemon] mountpoint: ", "unknown escape", "\\\\" } },
	{ "escape-at-end", "[daemon]\nmountpoint=/a\\\n", { ":2: [daemon] mountpoint: ", "unknown escape" } },
	{ "bad-bool", "[daemon]\npopulate=yes\n", { ":2: [daemon] populate: ", "\"yes\"", "use false or true" } },
	{ "bool-number", "[daemon]\npopulate=1\n", { ":2: [daemon] populate: ", "use false or true" } },
	{ "zero-in-advance",
	  "[daemon]\nzero-in-advance=no\n",
	  { ":2: [daemon] zero-in-advance: ", "use false or true" } },
	{ "zero-rate", "[daemon]\nzero-rate=1G/s\n", { ":2: [daemon] zero-rate: ", "\"1G/s\"" } },
	{ "max-metadata", "[daemon]\nmax-metadata=1023K\n", { ":2: [daemon] max-metadata: ", "at least 1M" } },
	{ "lend", PFN "lend=true\n" AUTO, { ":3: [daemon] lend: ", "\"true\"", "use off or on" } },
	{ "lend-dirty",
	  PFN "lend=on\nzero-in-advance=false\n" AUTO,
	  { ":3: [daemon] lend: ", "needs zero-in-advance=true" } },
	{ "lend-one-thread", PFN "lend=on\nthreads=1\n" AUTO, { ":4: [daemon] threads: ", "lend=on needs 2 or more" } },
	{ "lend-on-tmpfs", "[daemon]\nlend=on\n", { ":2: [daemon] lend: ", "needs backend=pfn", "use off" } },
	{ "lend-idle", PFN "lend-idle=604801\n" AUTO, { ":3: [daemon] lend-idle: ", "from 0 to 604800" } },
	{ "take-timeout", PFN "take-timeout=0\n" AUTO, { ":3: [daemon] take-timeout: ", "from 1 to 3600" } },
	{ "zero-rate-negative", "[daemon]\nzero-rate=-1\n", { ":2: [daemon] zero-rate: " } },
	{ "bad-backend", "[daemon]\nbackend=file\n", { ":2: [daemon] backend: ", "\"file\"", "use memory or pfn" } },
	{ "demand-on-tmpfs", "[daemon]\nalloc=demand\n", { ":2: [daemon] alloc: ", "backend=pfn", "use eager" } },
	{ "no-factor", PFN "overcommit=0\n" AUTO, { ":3: [daemon] overcommit: ", "\"0\"", "such as 1.5" } },
	{ "infinite-factor", PFN "overcommit=inf\n" AUTO, { "overcommit: ", "\"inf\"", "such as 1.5" } },
	{ "negative-factor", PFN "overcommit=-1\n" AUTO, { "overcommit: ", "\"-1\"", "such as 1.5" } },
	{ "large-factor", PFN "overcommit=1000.1\n" AUTO, { "overcommit: ", "1000.1", "up to 1000" } },
	{ "odd-extent", PFN "demand-extent=8K\n" AUTO, { "demand-extent: ", "use 4K, 2M or 1G" } },
	{ "bad-alloc", "[daemon]\nalloc=lazy\n", { ":2: [daemon] alloc: ", "\"lazy\"", "use eager or demand" } },
	{ "threads-zero", "[daemon]\nthreads=0\n", { ":2: [daemon] threads: ", "\"0\"", "from 1 to 256" } },
	{ "threads-many", "[daemon]\nthreads=257\n", { "[daemon] threads: ", "from 1 to 256" } },
	{ "threads-negative", "[daemon]\nthreads=-1\n", { "[daemon] threads: ", "from 1 to 256" } },
	{ "threads-huge", "[daemon]\nthreads=99999999999999999999\n", { "[daemon] threads: ", "from 1 to 256" } },
	{ "threads-text", "[daemon]\nthreads=4 # four\n", { "[daemon] threads: ", "from 1 to 256" } },
	{ "obsolete-elsewhere",
	  QUOTA "path=/a\nbusy-poll=20\nmax-files=1\n",
	  { ":4: [quota a] busy-poll: unknown key" } },
	{ "metrics-interval-zero",
	  "[daemon]\nmetrics-interval=0\n",
	  { "[daemon] metrics-interval: ", "from 1 to 3600" } },
	{ "metrics-file-name",
	  "[daemon]\nmetrics-file=/run/x.txt\n",
	  { ":2: [daemon] metrics-file: ", "/run/x.txt", ".prom" } },
	{ "metrics-file-relative", "[daemon]\nmetrics-file=x.prom\n", { "[daemon] metrics-file: ", "relative path" } },
	{ "metrics-file-on-mount",
	  "[daemon]\nmetrics-file=/mnt/dmemfs/x.prom\n",
	  { ":2: [daemon] metrics-file: ", "on the mount itself" } },
	/* sizes */
	{ "page-size-3m",
	  "[daemon]\npage-size=3M\n",
	  { ":2: [daemon] page-size: ", "3M is not a page size", "4K, 2M or 1G" } },
	{ "page-size-zero", "[daemon]\npage-size=0\n", { "[daemon] page-size: ", "4K, 2M or 1G" } },
	{ "page-size-text", "[daemon]\npage-size=huge\n", { "[daemon] page-size: ", "\"huge\" is not a size" } },
	{ "size-zero", "[daemon]\nsize=0\n", { ":2: [daemon] size: ", "is zero", "at least one page" } },
	{ "size-negative", "[daemon]\nsize=-2M\n", { ":2: [daemon] size: ", "\"-2M\" is not a size", "64G" } },
	{ "size-fraction", "[daemon]\nsize=1.5T\n", { "[daemon] size: ", "\"1.5T\" is not a size", "whole number" } },
	{ "size-comment", "[daemon]\nsize=4G # four\n", { "[daemon] size: ", "is not a size" } },
	{ "size-multiple", "[daemon]\nsize=5M\n", { "[daemon] size: ", "multiple of page-size, 2M", "use 4M" } },
	{ "size-small",
	  "[daemon]\npage-size=1G\nsize=2M\n",
	  { "[daemon] size: ", "multiple of page-size, 1G", "use 1G" } },
	{ "size-2^63", "[daemon]\nsize=9223372036854775808\n", { "[daemon] size: ", "too large", "2^63" } },
	{ "size-suffix-overflow", "[daemon]\nsize=8192P\n", { "[daemon] size: ", "too large", "2^63" } },
	{ "size-2^64", "[daemon]\nsize=18446744073709551616\n", { "[daemon] size: ", "too large" } },
	{ "size-and-region",
	  "[daemon]\nsize=2M\n[region a]\nstart=0\nsize=2M\n",
	  { ":2: [daemon] size: ", "[region]", "remove" } },
	/* regions */
	{ "region-no-start", REGION "size=2M\n", { ":2: [region a] start: ", "missing", "an address, or auto" } },
	{ "region-no-size", REGION "start=0\n", { ":2: [region a] size: ", "missing", "in bytes" } },
	{ "region-size-zero", REGION "start=0\nsize=0\n", { ":4: [region a] size: ", "is zero" } },
	{ "region-unaligned-start",
	  REGION "start=1M\nsize=2M\n",
	  { ":3: [region a] start: ", "multiple of page-size, 2M" } },
	{ "region-unaligned-size",
	  REGION "start=2M\nsize=1M\n",
	  { ":4: [region a] size: ", "multiple of page-size, 2M" } },
	{ "region-wraps",
	  REGION "start=0x7fffffffffe00000\nsize=2M\n",
	  { ":4: [region a] size: ", "past 2^63", "smaller" } },
	{ "region-start-2^63",
	  REGION "start=0x8000000000000000\nsize=2M\n",
	  { ":3: [region a] start: ", "too large" } },
	{ "region-node-text", REGION "start=0\nsize=2M\nnode=x\n", { ":5: [region a] node: ", "from 0 to 1023" } },
	{ "region-node-negative", REGION "start=0\nsize=2M\nnode=-1\n", { ":5: [region a] node: ", "from 0 to 1023" } },
	{ "region-same",
	  REGION "start=0\nsize=2M\n[region b]\nstart=0\nsize=2M\n",
	  { "overlaps [region ", "start or size" } },
	{ "region-overlap",
	  REGION "start=4M\nsize=2M\n[region b]\nstart=0\nsize=6M\n",
	  { ":3: [region a] start: ", "overlaps [region b]", "change start or size" } },
	{ "region-auto-memory", REGION "start=auto\n", { ":3: [region a] start: ", "needs backend=pfn", "set that" } },
	{ "region-auto-size",
	  PFN "[region a]\nstart=auto\nsize=2M\n",
	  { ":5: [region a] size: ", "start=auto", "remove" } },
	{ "region-auto-node",
	  PFN "[region a]\nstart=auto\nnode=0\n",
	  { ":5: [region a] node: ", "start=auto", "remove" } },
	{ "region-auto-two",
	  PFN "[region a]\nstart=auto\n[region b]\nstart=4G\nsize=1G\n",
	  { ":4: [region a] start: ", "every reserved range", "remove the other" } },
	{ "region-pages-word",
	  REGION "start=0\nsize=2M\npages=4K\n",
	  { ":5: [region a] pages: ", "unknown value \"4K\"", "none or 2M or 1G" } },
	{ "region-pages-unit",
	  PFN "page-size=2M\n[region a]\nstart=4G\nsize=1G\npages=1G\n",
	  { ":7: [region a] pages: ", "page-size is 2M, but a file has whole compound pages, of 1G",
	    "use page-size=1G in [daemon], or" } },
	{ "region-1g-start",
	  PFN "[region a]\nstart=0x120000000\nsize=4G\npages=1G\n",
	  { ":4: [region a] start: ", "multiple of 1G, as pages=1G needs",
	    "use start=0x140000000 size=3072M, or pages=none" } },
	{ "region-1g-size",
	  PFN "[region a]\nstart=4G\nsize=1537M\npages=1G\n",
	  { ":5: [region a] size: ", "multiple of 1G, as pages=1G needs",
	    "use start=0x100000000 size=1024M, or pages=none" } },
	{ "region-1g-too-small",
	  PFN "[region a]\nstart=0x120000000\nsize=512M\npages=1G\n",
	  { ":4: [region a] start: ", "use start=0x140000000 size=1024M" } },
	{ "region-default-unit",
	  PFN "[region a]\nstart=4G\nsize=1537M\n",
	  { ":5: [region a] size: ", "multiple of page-size, 2M", "use 1536M" } },
	{ "region-2m-section",
	  PFN "page-size=2M\n[region a]\nstart=0x104000000\nsize=256M\npages=2M\n",
	  { ":5: [region a] start: ", "multiple of 128M, as pages=2M needs", "use start=0x108000000 size=128M" } },
	{ "region-start-empty", REGION "start=\nsize=2M\n", { ":3: [region a] start: ", "has no value" } },
	{ "pfn-no-region", PFN, { ":2: [daemon] backend: ", "no memory", "[region NAME]" } },
	{ "pfn-size",
	  PFN "size=2M\n[region a]\nstart=auto\n",
	  { ":3: [daemon] size: ", "no meaning with backend=pfn", "remove" } },
	{ "pfn-memory-dir",
	  PFN "memory-dir=/dev/shm/x\n[region a]\nstart=auto\n",
	  { ":3: [daemon] memory-dir: ", "no meaning" } },
	{ "pfn-populate", PFN "populate=true\n[region a]\nstart=auto\n", { ":3: [daemon] populate: ", "no meaning" } },
	/* paths */
	{ "path-relative",
	  "[daemon]\nmountpoint=mnt\n",
	  { ":2: [daemon] mountpoint: ", "\"mnt\" is a relative path", "with /" } },
	{ "path-dot",
	  "[daemon]\nmountpoint=/a/./b\n",
	  { "[daemon] mountpoint: ", "has . or .. in it", "write the path out" } },
	{ "path-dotdot", "[daemon]\nstate-dir=/a/../b\n", { ":2: [daemon] state-dir: ", "has . or .. in it" } },
	{ "path-newline", "[daemon]\nmountpoint=/a\\nb\n", { "[daemon] mountpoint: ", "control characters" } },
	{ "path-tab", "[daemon]\nmountpoint=/a\\tb\n", { "[daemon] mountpoint: ", "control characters" } },
	{ "mountpoint-is-state-dir",
	  "[daemon]\nmountpoint=/a\nstate-dir=/a/\n",
	  { ":3: [daemon] state-dir: ", "is inside", "apart" } },
	{ "mountpoint-in-state-dir",
	  "[daemon]\nmountpoint=/a/b\nstate-dir=/a\n",
	  { ":3: [daemon] state-dir: ", "/a/b", "apart" } },
	{ "state-dir-in-mountpoint",
	  "[daemon]\nmountpoint=/a\nstate-dir=/a//b\n",
	  { ":3: [daemon] state-dir: ", "/a/b", "apart" } },
	{ "mountpoint-root", PFN "mountpoint=///\n" AUTO, { "[daemon] state-dir: ", "mountpoint /", "apart" } },
	{ "mountpoint-default-clash",
	  "[daemon]\nstate-dir=/mnt\n",
	  { ":2: [daemon] state-dir: ", "/mnt/dmemfs", "apart" } },
	{ "memory-dir-in-mountpoint",
	  "[daemon]\nmemory-dir=/mnt/dmemfs/x\n",
	  { ":2: [daemon] memory-dir: ", "apart" } },
	{ "mountpoint-in-memory-dir",
	  "[daemon]\nmountpoint=/dev/shm/a/b\nmemory-dir=/dev/shm/a\n",
	  { ":3: [daemon] memory-dir: ", "apart" } },
	{ "memory-dir-is-state-dir",
	  "[daemon]\nstate-dir=/a\nmemory-dir=/a\n",
	  { ":3: [daemon] memory-dir: ", "state-dir", "nothing else" } },
	{ "state-dir-in-memory-dir",
	  "[daemon]\nstate-dir=/a/b\nmemory-dir=/a\n",
	  { ":3: [daemon] memory-dir: ", "state-dir" } },
	/* quotas */
	{ "quota-no-path", QUOTA "max-files=1\n", { ":2: [quota a] path: ", "missing", "/tenant" } },
	{ "quota-relative", QUOTA "path=a\nmax-files=1\n", { ":3: [quota a] path: ", "relative" } },
	{ "quota-no-limit", QUOTA "path=/a\n", { ":2: [quota a]: ", "has no limit", "max-bytes or max-files" } },
	{ "quota-zero-bytes", QUOTA "path=/a\nmax-bytes=0\n", { ":4: [quota a] max-bytes: ", "is zero", "remove" } },
	{ "quota-zero-files", QUOTA "path=/a\nmax-files=0\n", { ":4: [quota a] max-files: ", "from 1 to" } },
	{ "quota-bad-bytes",
	  QUOTA "path=/a\nmax-bytes=lots\n",
	  { ":4: [quota a] max-bytes: ", "\"lots\" is not a size" } },
	{ "quota-bad-files",
	  QUOTA "path=/a\nmax-files=1K\n",
	  { ":4: [quota a] max-files: ", "\"1K\"", "whole number" } },
	{ "quota-same-path",
	  QUOTA "path=/t\nmax-files=1\n[quota b]\npath=/t/\nmax-files=1\n",
	  { ":6: [quota b] path: ", "[quota a] has the same path", "merge" } },
	/* what depends on a wrong value is not judged: one message */
	{ "only-backend",
	  "[daemon]\nbackend=pnf\nalloc=demand\nsize=12K\n[region a]\nstart=auto\n",
	  { ":2: [daemon] backend: ", "\"pnf\"" } },
	{ "only-page-size", "[daemon]\npage-size=3M\nsize=12K\n", { ":2: [daemon] page-size: ", "3M" } },
	{ "only-page-size-of-region",
	  PFN "page-size=3M\n[region a]\nstart=4K\nsize=1G\npages=none\n[region b]\nstart=4G\nsize=1G\npages=1G\n",
	  { ":3: [daemon] page-size: ", "3M" } },
	{ "only-mountpoint",
	  "[daemon]\nmountpoint=mnt\nstate-dir=/mnt/dmemfs/state\nmetrics-file=/mnt/dmemfs/a.prom\n",
	  { ":2: [daemon] mountpoint: ", "relative" } },
	{ "only-state-dir",
	  "[daemon]\nstate-dir=state\nmemory-dir=/var\n",
	  { ":2: [daemon] state-dir: ", "relative" } },
	{ "only-start",
	  REGION "start=x\nsize=4M\n[region b]\nstart=0\nsize=2M\n",
	  { ":3: [region a] start: ", "\"x\"" } },
	{ "only-pages", PFN "[region a]\nstart=1M\nsize=1M\npages=4K\n", { ":6: [region a] pages: ", "\"4K\"" } },
	{ "only-limit", QUOTA "path=/a\nmax-bytes=x\n", { ":4: [quota a] max-bytes: ", "\"x\"" } },
	{ "only-page-size-of-two",
	  "[daemon]\npage-size=4K\npage-size=2M\nsize=66K\n",
	  { ":3: [daemon] page-size: ", "twice" } },
	{ "only-second-value", "[daemon]\nthreads=0\nthreads=8\n", { ":3: [daemon] threads: ", "given twice" } },
	{ "only-start-of-two",
	  REGION "start=0\nstart=4M\nsize=2M\n[region b]\nstart=0\nsize=2M\n",
	  { ":4: [region a] start: ", "given twice" } },
	{ "only-copied-group",
	  REGION RANGE "[region a]\nstart=4M\nsize=2M\n",
	  { ":5: [region a]: ", "given twice, first in line 2" } },
	{ "only-unknown-group", PFN "[regoin a]\nstart=auto\n", { ":3: [regoin a]: ", "unknown group" } },
	{ "only-broken-group", PFN "[region a\nsize=2M\nsize=2M\n", { ":3: the line \"[region a\"", "write [NAME]" } },
	{ "newline-in-value", "[daemon]\nbackend=a\\nb\n", { ":2: [daemon] backend: ", "a\\nb" } },
};

static void refused(struct config *loaded, const GError *error, const char *const *fragments, size_t count)
{
	g_autoptr(config_t) config = loaded;

	g_assert_null(config);
	g_assert_error(error, CONFIG_ERROR, CONFIG_ERROR_INVALID);
	g_assert_true(g_str_has_prefix(error->message, config_file_path));
	if (strchr(error->message, '\n'))
		g_error("more than one message: %s", error->message);
	for (size_t i = 0; i < count && fragments[i]; i++)
		assert_contains(error->message, fragments[i]);
}

static void is_refused(gconstpointer data)
{
	const struct bad *bad = data;
	g_autoptr(GError) error = NULL;
	struct config *config = config_file_load(bad->text, -1, &error);

	refused(config, error, bad->fragments, G_N_ELEMENTS(bad->fragments));
}

static void text_is_refused(const char *text, gssize length, const char *fragment)
{
	g_autoptr(GError) error = NULL;
	struct config *config = config_file_load(text, length, &error);

	refused(config, error, &fragment, 1);
}

static void binary_is_refused(void)
{
	text_is_refused("[daemon]\n\0size=2M\n", 18, ":2: is not UTF-8");
}

static void long_text_is_refused(void)
{
	g_autofree char *name = g_strnfill(PATH_MAX, 'x');
	g_autofree char *path = g_strdup_printf("[daemon]\nmountpoint=/%s\n", name);
	g_autofree char *value = g_strnfill(10000, '1');
	g_autofree char *line = g_strdup_printf("[daemon]\nsize=%s\n", value);
	g_autofree char *group = g_strdup_printf("[daemon]\nsize=2M\n[%s]\nsize=2M\n", value);
	g_autofree char *large = g_strnfill((1 << 20) + 1, '#');

	text_is_refused(path, -1, ":2: [daemon] mountpoint: the path is longer than 4095 bytes: ");
	text_is_refused(line, -1, ":2: the line is longer than 8192 bytes: ");
	text_is_refused(group, -1, ":3: the line is longer than 8192 bytes: ");
	text_is_refused(large, -1, ": is larger than 1 MiB: ");
}

static void many_regions_are_refused(void)
{
	g_autoptr(GString) text = g_string_new("[daemon]\n");

	for (unsigned i = 0; i < 64; i++)
		g_string_append_printf(text, "[region r%u]\nstart=%uM\nsize=2M\n", i, 4 * i);
	config_destroy(config_file_load(text->str, -1, NULL));
	g_string_append(text, "[region last]\nstart=1G\nsize=2M\n");
	text_is_refused(text->str, -1, ":194: [region last]: more than 64 regions: ");
}

static void file_is_refused(const char *path, const char *fragment)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(config_t) config = config_load(path, &error);

	g_assert_null(config);
	g_assert_error(error, CONFIG_ERROR, CONFIG_ERROR_INVALID);
	g_assert_true(g_str_has_prefix(error->message, path));
	assert_contains(error->message, fragment);
}

static void what_is_no_file_is_refused(void)
{
	g_autofree char *missing = g_build_filename(config_file_directory, "missing", NULL);
	g_autofree char *fifo = g_build_filename(config_file_directory, "fifo", NULL);
	g_autofree char *loop = g_build_filename(config_file_directory, "loop", NULL);

	g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
	g_assert_cmpint(symlink("loop", loop), ==, 0);
	file_is_refused(config_file_directory, ": is a directory: ");
	file_is_refused(missing, ": cannot open: No such file or directory: ");
	file_is_refused("", ": cannot open: No such file or directory: ");
	file_is_refused(fifo, ": is not a regular file: ");
	file_is_refused("/dev/zero", ": is not a regular file: ");
	file_is_refused(loop, ": cannot open: ");
	g_unlink(fifo);
	g_unlink(loop);
}

/* Root can read every file: the test changes to another user meanwhile. */
static void what_cannot_be_read_is_refused(void)
{
	uid_t user = geteuid();

	config_destroy(config_file_load("[daemon]\n", -1, NULL));
	g_assert_cmpint(chmod(config_file_directory, 0755), ==, 0);
	g_assert_cmpint(chmod(config_file_path, 0), ==, 0);
	if (user == 0)
		g_assert_cmpint(seteuid(NOBODY), ==, 0);
	file_is_refused(config_file_path, ": cannot open: Permission denied: ");
	g_assert_cmpint(seteuid(user), ==, 0);
	g_unlink(config_file_path);
}

/* Damages every part of the text in turn: config_load() must not crash. Meant for a build with sanitizers. */
static void damaged_text_is_survived(void)
{
	static const char whole[] = "# c\n[daemon]\nmountpoint=/a\\sb\nsize=64G\nthreads=4\n"
				    "[quota q]\npath=/q\nmax-bytes=1G\n";
	static const char bytes[] = { '\0', '\n', '[', ']', '=', '\\', ' ', '#', '\x80', '9' };

	for (size_t at = 0; at < sizeof(whole) - 1; at++) {
		for (size_t i = 0; i < sizeof(bytes); i++) {
			g_autofree char *text = g_strdup(whole);

			text[at] = bytes[i];
			config_destroy(config_file_load(text, sizeof(whole) - 1, NULL));
		}
		config_destroy(config_file_load(whole, (gssize)at, NULL));
	}
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	config_file_setup();
	for (size_t i = 0; i < G_N_ELEMENTS(bads); i++) {
		g_autofree char *path = g_strconcat("/config/refused/", bads[i].name, NULL);

		g_test_add_data_func(path, &bads[i], is_refused);
	}
	g_test_add_func("/config/refused/binary", binary_is_refused);
	g_test_add_func("/config/refused/long", long_text_is_refused);
	g_test_add_func("/config/refused/many-regions", many_regions_are_refused);
	g_test_add_func("/config/refused/no-file", what_is_no_file_is_refused);
	g_test_add_func("/config/refused/unreadable", what_cannot_be_read_is_refused);
	g_test_add_func("/config/damage", damaged_text_is_survived);
	status = g_test_run();
	config_file_cleanup();
	return status;
}
