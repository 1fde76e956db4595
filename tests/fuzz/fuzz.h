/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a fuzz target is: the function that libFuzzer calls (https://llvm.org/docs/LibFuzzer.html), and helpers to
 * cut an input into values. A target aborts when the code under test breaks a promise; what is malformed in the input is
 * the code's to refuse.
 */
#ifndef DMEMFS_FUZZ_H
#define DMEMFS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The rest of an input. What is taken past its end is 0. */
struct fuzz_input {
	const uint8_t *data;
	size_t size;
};

uint64_t fuzz_take(struct fuzz_input *input, unsigned bytes);
/* @size bytes or as many as there are, which @size tells then; they stay the input's. */
const uint8_t *fuzz_take_bytes(struct fuzz_input *input, size_t *size);

#endif
