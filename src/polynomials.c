/* Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE. */
/* Chebyshev's polynomials, summed in the order in which afw does. */

#include "arrays.h"
#include "modules.h"

/* Fill in T_0 to T_n-1 of one position after the other. */
FOR_EACH_PROCESSOR
static void
fill_terms(const double *restrict x, Py_ssize_t positions, Py_ssize_t n, double *restrict terms)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        double *t = terms + i * positions;
        for (Py_ssize_t k = 0; k < positions; k++) {
            t[k] = i == 0 ? 1.0 : i == 1 ? x[k] : 2.0 * x[k] * t[k - positions] - t[k - 2 * positions];
        }
    }
}

PyObject *
chebyshev_terms(PyObject *Py_UNUSED(module), PyObject *args)
{
    enum { X, TERMS, ARGUMENTS };
    static const Array arrays[] = {{"x", FLOAT64, 1, 0}, {"terms", FLOAT64, 2, 1}};
    PyObject *objects[ARGUMENTS];
    Py_buffer views[ARGUMENTS];
    if (!PyArg_ParseTuple(args, "OO", &objects[0], &objects[1]) ||
        take_arrays(arrays, objects, views, ARGUMENTS) < 0) {
        return NULL;
    }
    Py_ssize_t positions = views[X].shape[0];
    Py_ssize_t n = views[TERMS].shape[0];
    int status = check_shape(&arrays[TERMS], &views[TERMS], n, positions);
    if (status == 0) {
        fill_terms(views[X].buf, positions, n, views[TERMS].buf);
    }
    release_arrays(views, ARGUMENTS);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

/* Add one term of each row's polynomial. */
FOR_EACH_PROCESSOR
static void
add_term(double *restrict out, const double *restrict term, Py_ssize_t rows, double coefficient)
{
    for (Py_ssize_t k = 0; k < rows; k++) {
        out[k] += coefficient * term[k];
    }
}

PyObject *
sum_terms(PyObject *Py_UNUSED(module), PyObject *args)
{
    enum { COEFFICIENTS, TERMS, OUT, ARGUMENTS };
    static const Array arrays[] = {
        {"coefficients", FLOAT64, 2, 0}, {"terms", FLOAT64, 2, 0}, {"out", FLOAT64, 2, 1},
    };
    PyObject *objects[ARGUMENTS];
    Py_buffer views[ARGUMENTS];
    if (!PyArg_ParseTuple(args, "OOO", &objects[0], &objects[1], &objects[2]) ||
        take_arrays(arrays, objects, views, ARGUMENTS) < 0) {
        return NULL;
    }
    Py_ssize_t n = views[COEFFICIENTS].shape[0], rows = views[TERMS].shape[1];
    int status = check_shape(&arrays[COEFFICIENTS], &views[COEFFICIENTS], n, n);
    status = status < 0 ? status : check_shape(&arrays[TERMS], &views[TERMS], n, rows);
    status = status < 0 ? status : check_shape(&arrays[OUT], &views[OUT], n, rows);
    if (status == 0) {
        const double *coefficients = views[COEFFICIENTS].buf, *terms = views[TERMS].buf;
        double *out = views[OUT].buf;
        for (Py_ssize_t i = 0; i < n * rows; i++) {
            out[i] = 0.0;
        }
        for (Py_ssize_t j = 0; j < n; j++) {
            for (Py_ssize_t i = 0; i < n - j; i++) {
                add_term(out + i * rows, terms + j * rows, rows, coefficients[j * n + i]);
            }
        }
    }
    release_arrays(views, ARGUMENTS);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}
