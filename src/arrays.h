/* Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE. */
/* Arrays that Python passes by the buffer protocol, and how loops over them
 * are compiled. */

#ifndef BGQA_ARRAYS_H
#define BGQA_ARRAYS_H

#include <Python.h>
#include <stdint.h>

/* Most rows of strips in a block, and most strips to find for an extreme. */
#define ROWS_PER_BLOCK 16
#define MOST_STRIPS 16

/* What the elements of an array are, as messages call it. */
#define FLOAT32 "float32"
#define FLOAT64 "float64"
#define FLOAT32_OR_64 "float32 or float64"
#define INT64 "int64"
#define BOOL "bool"

/* What a function expects of an argument. */
typedef struct {
    const char *name;
    const char *type;
    int ndim;
    int is_output;
} Array;

/* Take contiguous arrays; returns -1, with an exception set and nothing
 * taken, if one is not as expected. */
int take_arrays(const Array *arrays, PyObject *const *objects, Py_buffer *views, int n);

void release_arrays(Py_buffer *views, int n);

/* Check the shape of an array; returns -1 with an exception set if it is
 * another. */
#define check_shape(array, view, ...) check_lengths(array, view, (const Py_ssize_t[]){__VA_ARGS__})
int check_lengths(const Array *array, const Py_buffer *view, const Py_ssize_t *lengths);

/* Check the first row of each block and the end; returns -1 with an exception
 * set if they are none. */
int check_starts(const int64_t *starts, Py_ssize_t blocks, Py_ssize_t rows);

/* The compiler makes such a function for several generations of processors.
 * Products and sums are not contracted (see the build's options), so that all
 * of them give the same bits. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

/* What such functions consist of. */
#define INLINE static inline __attribute__((always_inline))

/* Sums that are kept apart until the end. */
#define LANES 8

INLINE double
sum_lanes(const double lanes[LANES])
{
    double sum = 0.0;
    for (int i = 0; i < LANES; i++) {
        sum += lanes[i];
    }
    return sum;
}

#endif
