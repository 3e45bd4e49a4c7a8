/* Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE. */
#include "arrays.h"

#include <string.h>

static int
has_type(const Py_buffer *view, const char *type)
{
    /* A kind may have several codes of one size: that of int64 depends on the
     * platform. */
    static const struct {
        const char *type, *codes;
        Py_ssize_t size;
    } types[] = {
        {FLOAT32, "f", 4}, {FLOAT64, "d", 8}, {INT64, "lq", 8}, {BOOL, "?", 1}, {FLOAT32_OR_64, "fd", 0},
    };
    const char *format = view->format ? view->format : "B";
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].type, type) == 0) {
            return strlen(format) == 1 && strchr(types[i].codes, *format) &&
                   (types[i].size == 0 || view->itemsize == types[i].size);
        }
    }
    return 0;
}

int
take_arrays(const Array *arrays, PyObject *const *objects, Py_buffer *views, int n)
{
    for (int i = 0; i < n; i++) {
        int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (arrays[i].is_output ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(objects[i], &views[i], flags) < 0) {
            release_arrays(views, i);
            return -1;
        }
        if (views[i].ndim != arrays[i].ndim || !has_type(&views[i], arrays[i].type)) {
            release_arrays(views, i + 1);
            PyErr_Format(PyExc_TypeError, "%s must be an array of %s with %d axes", arrays[i].name,
                         arrays[i].type, arrays[i].ndim);
            return -1;
        }
    }
    return 0;
}

void
release_arrays(Py_buffer *views, int n)
{
    for (int i = 0; i < n; i++) {
        PyBuffer_Release(&views[i]);
    }
}

int
check_lengths(const Array *array, const Py_buffer *view, const Py_ssize_t *lengths)
{
    for (int axis = 0; axis < array->ndim; axis++) {
        if (view->shape[axis] != lengths[axis]) {
            PyErr_Format(PyExc_ValueError, "%s must have a length of %zd along axis %d, not %zd", array->name,
                         lengths[axis], axis, view->shape[axis]);
            return -1;
        }
    }
    return 0;
}

int
check_starts(const int64_t *starts, Py_ssize_t blocks, Py_ssize_t rows)
{
    for (Py_ssize_t i = 0; i < blocks; i++) {
        if (starts[i] < 0 || starts[i] >= starts[i + 1] || starts[i + 1] > rows ||
            starts[i + 1] - starts[i] > ROWS_PER_BLOCK) {
            PyErr_Format(PyExc_ValueError, "starts must ascend, from 0 to %zd, by at most %d", rows,
                         ROWS_PER_BLOCK);
            return -1;
        }
    }
    return 0;
}
