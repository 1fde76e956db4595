// SPDX-License-Identifier: GPL-2.0-or-later
/* Which unit is lent or taken back next. A unit has one gigabyte. */
#include <errno.h>

#include "pool/lend_policy.h"

#define GIB    DMEMFS_PAGE_1G
#define SECOND G_TIME_SPAN_SECOND
#define NOW    (1000 * SECOND)

/* Two nodes with a region of four units each; the units are at 4 to 7 GiB and 8 to 11 GiB. */
struct host {
	struct lend_unit units[8];
	struct lend_region regions[2];
	struct lend_view view;
	struct lend_rules rules;
};

static struct host new_host(void)
{
	struct host host = { .rules = { .on = true, .reserve = GIB, .idle = 60 * SECOND } };

	for (guint i = 0; i < G_N_ELEMENTS(host.units); i++)
		host.units[i] = (struct lend_unit){ .extent = { (4 + i) * GIB, GIB },
			                            .region = i / 4,
			                            .state = LEND_FREE,
			                            .freed = NOW - 100 * SECOND };
	host.regions[0] = (struct lend_region){ .node = 0, .order = PAGE_ORDER_1G };
	host.regions[1] = (struct lend_region){ .node = 1, .order = PAGE_ORDER_1G };
	return host;
}

static struct lend_view view_of(struct host *host)
{
	struct lend_view view = host->view;

	for (guint i = 0; i < G_N_ELEMENTS(host->regions); i++)
		host->regions[i].free = 0;
	for (guint i = 0; i < G_N_ELEMENTS(host->units); i++)
		host->regions[host->units[i].region].free += host->units[i].state == LEND_FREE ? GIB : 0;
	view.units = host->units;
	view.unit_count = G_N_ELEMENTS(host->units);
	view.regions = host->regions;
	view.region_count = G_N_ELEMENTS(host->regions);
	view.now = NOW;
	return view;
}

static void assert_rests(struct host *host)
{
	const struct lend_view view = view_of(host);
	guint unit;

	g_assert_cmpint(lend_policy_next(&view, &host->rules, &unit), ==, LEND_REST);
}

/* The address of the unit in GiB. */
static void assert_next(struct host *host, enum lend_action action, uint64_t address)
{
	const struct lend_view view = view_of(host);
	guint unit = 99;

	g_assert_cmpint(lend_policy_next(&view, &host->rules, &unit), ==, action);
	g_assert_cmpuint(unit, <, G_N_ELEMENTS(host->units));
	g_assert_cmpuint(host->units[unit].extent.start / GIB, ==, address);
}

static void the_highest_are_lent_until_the_reserve_of_each_node(void)
{
	static const guint order[] = { 11, 10, 9, 7, 6, 5 };
	struct host host = new_host();

	for (guint i = 0; i < G_N_ELEMENTS(order); i++) {
		assert_next(&host, LEND_UNIT, order[i]);
		host.units[order[i] - 4].state = LEND_LENT;
	}
	assert_rests(&host);
}

static void no_more_is_lent_than_the_host_can_manage(void)
{
	struct host host = new_host();

	host.rules.most = 3 * GIB - 1;
	host.units[7].state = LEND_LENT;
	assert_next(&host, LEND_UNIT, 10);
	host.units[6].state = LEND_LENT;
	assert_rests(&host);
	host.rules.most = 3 * GIB;
	assert_next(&host, LEND_UNIT, 9);
}

static void only_what_has_been_free_for_long_is_lent(void)
{
	struct host host = new_host();

	host.units[7].freed = NOW - 59 * SECOND;
	host.units[6].state = LEND_USED;
	assert_next(&host, LEND_UNIT, 9);
	host.rules.idle = 0;
	assert_next(&host, LEND_UNIT, 11);
}

static void what_is_promised_is_not_lent(void)
{
	struct host host = new_host();

	/* Of 8 GiB, 2 are the reserves, and 5 are promised. */
	host.view.promised[PAGE_ORDER_1G / PAGE_ORDER_STEP] = 5 * GIB;
	assert_next(&host, LEND_UNIT, 11);
	host.units[7].state = LEND_LENT;
	assert_rests(&host);
	/* Promises of another kind of memory do not count. */
	host.view.promised[0] = 5 * GIB;
	host.view.promised[PAGE_ORDER_1G / PAGE_ORDER_STEP] = 4 * GIB;
	assert_next(&host, LEND_UNIT, 10);
	/* A new promise, also of an earlier daemon, is covered again. */
	host.view.promised[PAGE_ORDER_1G / PAGE_ORDER_STEP] = 6 * GIB;
	assert_next(&host, LEND_TAKE, 11);
}

static void a_reserve_that_is_in_use_is_taken_back(void)
{
	struct host host = new_host();

	for (guint i = 1; i < 4; i++)
		host.units[i].state = LEND_LENT;
	host.units[0].state = LEND_USED;
	assert_next(&host, LEND_TAKE, 5);
	host.units[1].state = LEND_FREE;
	host.units[1].freed = NOW;
	/* The other node has enough. */
	assert_next(&host, LEND_UNIT, 11);
}

/* A node whose memory files have does not keep that of others back. */
static void a_full_node_does_not_count(void)
{
	struct host host = new_host();

	for (guint i = 0; i < 4; i++)
		host.units[i].state = LEND_USED;
	for (guint i = 5; i < 8; i++)
		host.units[i].state = LEND_LENT;
	assert_rests(&host);
}

static void a_reserve_beyond_the_node_keeps_all_of_it(void)
{
	struct host host = new_host();

	host.rules.reserve = INT64_MAX;
	assert_rests(&host);
}

static void regions_of_a_node_share_its_reserve(void)
{
	struct host host = new_host();

	host.regions[1].node = 0;
	for (guint i = 1; i < 8; i++) {
		assert_next(&host, LEND_UNIT, 12 - i);
		host.units[8 - i].state = LEND_LENT;
	}
	assert_rests(&host);
}

static void all_is_taken_back_when_lending_is_off(void)
{
	struct host host = new_host();

	host.rules.on = false;
	assert_rests(&host);
	host.units[2].state = host.units[7].state = LEND_LENT;
	assert_next(&host, LEND_TAKE, 6);
	lend_policy_note(&host.units[2], -EBUSY, NOW);
	assert_next(&host, LEND_TAKE, 11);
	lend_policy_note(&host.units[7], -EBUSY, NOW);
	assert_rests(&host);
}

static void failures_are_repeated_after_longer_and_longer_pauses(void)
{
	struct lend_unit unit = { 0 };
	gint64 last = 0;

	for (guint i = 0; i < 20; i++) {
		lend_policy_note(&unit, -EBUSY, NOW);
		g_assert_cmpint(unit.failed, ==, NOW);
		g_assert_cmpint(unit.retry, ==, NOW + unit.pause);
		g_assert_cmpint(unit.pause, >=, last);
		last = unit.pause;
	}
	g_assert_cmpint(last, ==, G_TIME_SPAN_HOUR);
	lend_policy_note(&unit, 0, NOW);
	g_assert_cmpint(unit.failed | unit.retry | unit.pause, ==, 0);
}

/* What keeps one unit from being lent keeps the others from it, and the attempt leaves a unit that must be zeroed again. */
static void after_one_that_cannot_be_lent_none_is_lent_for_a_while(void)
{
	struct host host = new_host();
	gint64 last = 0;

	for (guint i = 7; i > 4; i--) {
		struct lend_unit *unit = &host.units[i];

		assert_next(&host, LEND_UNIT, 4 + i);
		lend_policy_note_refused(host.units, G_N_ELEMENTS(host.units), unit, -EBUSY, NOW);
		unit->state = LEND_USED;
		assert_rests(&host);
		g_assert_cmpint(unit->pause, >, last);
		last = unit->pause;
		unit->retry = NOW;
	}
	/* A success ends this, also for those that cannot be lent any more. */
	host.units[7].state = LEND_LENT;
	lend_policy_note_lent(host.units, G_N_ELEMENTS(host.units), &host.units[7]);
	assert_next(&host, LEND_UNIT, 7);
	lend_policy_note_refused(host.units, G_N_ELEMENTS(host.units), &host.units[3], -EBUSY, NOW);
	g_assert_cmpint(host.units[3].pause, <, last);
	/* What cannot be taken back is no reason. */
	host = new_host();
	host.units[7].state = LEND_LENT;
	lend_policy_note(&host.units[7], -EBUSY, NOW);
	assert_next(&host, LEND_UNIT, 10);
}

static void what_was_refused_is_tried_again(void)
{
	struct host host = new_host();

	host.rules.idle = G_TIME_SPAN_HOUR;
	host.units[2].state = host.units[3].state = LEND_LENT;
	assert_rests(&host);
	lend_policy_note(&host.units[2], -EBUSY, NOW - 60 * SECOND);
	assert_next(&host, LEND_TAKE, 6);
	lend_policy_note(&host.units[2], -EBUSY, NOW);
	assert_rests(&host);
}

/* A unit that somebody pins for long: each attempt disturbs the host, so it is tried often only while it is needed. */
static void what_is_needed_is_tried_more_often(void)
{
	struct host host = new_host();

	host.units[7].state = LEND_LENT;
	for (guint i = 0; i < 20; i++)
		lend_policy_note(&host.units[7], -EBUSY, NOW - 100 * SECOND);
	host.rules.idle = G_TIME_SPAN_HOUR;
	assert_rests(&host);
	host.view.promised[PAGE_ORDER_1G / PAGE_ORDER_STEP] = 6 * GIB;
	assert_next(&host, LEND_TAKE, 11);
	host.units[7].failed = NOW - 60 * SECOND;
	assert_rests(&host);
	host.rules.on = false;
	host.units[7].failed = NOW - 100 * SECOND;
	assert_next(&host, LEND_TAKE, 11);
}

static guint recalled(struct host *host, const struct lend_recall *recall)
{
	const struct lend_view view = view_of(host);
	guint unit;

	return lend_policy_recall(&view, recall, &unit) ? (guint)(host->units[unit].extent.start / GIB) : 0;
}

/* Each is tried once, those that failed lately after the others. */
static void a_request_tries_every_unit_of_its_regions_once(void)
{
	const struct lend_recall recall = { .regions = 2, .since = NOW - SECOND };
	struct host host = new_host();

	g_assert_cmpuint(recalled(&host, &recall), ==, 0);
	for (guint i = 0; i < 7; i++)
		host.units[i].state = LEND_LENT;
	lend_policy_note(&host.units[4], -EBUSY, NOW - 2 * SECOND + 1);
	lend_policy_note(&host.units[5], -EBUSY, NOW - 20 * SECOND);
	g_assert_cmpuint(recalled(&host, &recall), ==, 9);
	lend_policy_note(&host.units[5], -EBUSY, NOW);
	g_assert_cmpuint(recalled(&host, &recall), ==, 10);
	lend_policy_note(&host.units[6], -EBUSY, NOW);
	g_assert_cmpuint(recalled(&host, &recall), ==, 8);
	lend_policy_note(&host.units[4], -EBUSY, NOW);
	g_assert_cmpuint(recalled(&host, &recall), ==, 0);
	/* Another request does not wait for the pauses. */
	g_assert_cmpuint(recalled(&host, &(struct lend_recall){ .regions = 2, .since = NOW }), !=, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/lend-policy/most", no_more_is_lent_than_the_host_can_manage);
	g_test_add_func("/lend-policy/highest", the_highest_are_lent_until_the_reserve_of_each_node);
	g_test_add_func("/lend-policy/idle", only_what_has_been_free_for_long_is_lent);
	g_test_add_func("/lend-policy/promised", what_is_promised_is_not_lent);
	g_test_add_func("/lend-policy/reserve", a_reserve_that_is_in_use_is_taken_back);
	g_test_add_func("/lend-policy/full", a_full_node_does_not_count);
	g_test_add_func("/lend-policy/beyond", a_reserve_beyond_the_node_keeps_all_of_it);
	g_test_add_func("/lend-policy/shared", regions_of_a_node_share_its_reserve);
	g_test_add_func("/lend-policy/off", all_is_taken_back_when_lending_is_off);
	g_test_add_func("/lend-policy/refused", what_was_refused_is_tried_again);
	g_test_add_func("/lend-policy/all-pause", after_one_that_cannot_be_lent_none_is_lent_for_a_while);
	g_test_add_func("/lend-policy/pauses", failures_are_repeated_after_longer_and_longer_pauses);
	g_test_add_func("/lend-policy/pauses/needed", what_is_needed_is_tried_more_often);
	g_test_add_func("/lend-policy/recall", a_request_tries_every_unit_of_its_regions_once);
	return g_test_run();
}
