// SPDX-License-Identifier: GPL-2.0-or-later
/* Values out of the input of a fuzz target. */
#include "fuzz.h"

uint64_t fuzz_take(struct fuzz_input *input, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++) {
		if (input->size == 0)
			break;
		value |= (uint64_t)*input->data++ << (8 * i);
		input->size--;
	}
	return value;
}

const uint8_t *fuzz_take_bytes(struct fuzz_input *input, size_t *size)
{
	const uint8_t *bytes = input->data;

	if (*size > input->size)
		*size = input->size;
	input->data += *size;
	input->size -= *size;
	return bytes;
}
