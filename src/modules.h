/* Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE. */
/* What the parts of the module bring to it. */

#ifndef BGQA_MODULES_H
#define BGQA_MODULES_H

#include <Python.h>

int add_window(PyObject *module);

PyObject *bound_blocks(PyObject *module, PyObject *args);
PyObject *sum_moments(PyObject *module, PyObject *args);
PyObject *akima_cubics(PyObject *module, PyObject *args);
PyObject *combine_cubics(PyObject *module, PyObject *args);
PyObject *find_highest(PyObject *module, PyObject *args);
PyObject *chebyshev_terms(PyObject *module, PyObject *args);
PyObject *sum_terms(PyObject *module, PyObject *args);
PyObject *evaluate_cubics(PyObject *module, PyObject *args);

#endif
