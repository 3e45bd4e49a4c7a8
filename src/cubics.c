/* Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE. */
/* Curves that are cubics between breaks, on grids of pixels. */

#include "arrays.h"
#include "modules.h"

#include <math.h>
#include <stdint.h>

/* Curves that are interpolated together: few enough for a core's cache. */
#define CURVES 64

/* Interpolate some curves as GSL's ``akima`` does: Akima (1970), corners not
 * rounded. */
FOR_EACH_PROCESSOR
static void
interpolate_akima(const double *restrict x, const double *restrict y, Py_ssize_t n, Py_ssize_t stride, int curves,
                  double (*restrict slopes)[CURVES], double *restrict out)
{
    /* The slope of interval i is at [i + 2]; two more are extrapolated at each
     * end. */
    double(*m)[CURVES] = slopes;
    for (Py_ssize_t i = 0; i < n - 1; i++) {
        double h = x[i + 1] - x[i];
        for (int k = 0; k < curves; k++) {
            m[i + 2][k] = (y[(i + 1) * stride + k] - y[i * stride + k]) / h;
        }
    }
    for (int k = 0; k < curves; k++) {
        m[0][k] = 3.0 * m[2][k] - 2.0 * m[3][k];
        m[1][k] = 2.0 * m[2][k] - m[3][k];
        m[n + 1][k] = 2.0 * m[n][k] - m[n - 1][k];
        m[n + 2][k] = 3.0 * m[n][k] - 2.0 * m[n - 1][k];
    }
    for (Py_ssize_t i = 0; i < n - 1; i++) {
        double h = x[i + 1] - x[i];
        double *b = out + (4 * (i + 1) + 1) * stride, *c = b + stride, *d = c + stride;
        const double(*at)[CURVES] = (const double(*)[CURVES])m + i;
        for (int k = 0; k < curves; k++) {
            double here = at[2][k];
            double before = fabs(at[1][k] - at[0][k]), left = fabs(here - at[1][k]);
            double right = fabs(at[3][k] - here), after = fabs(at[4][k] - at[3][k]);
            /* The slope at a knot is a mean of those of its neighbours,
             * weighted by how these change on the other side. */
            double alpha = before / (right + before), next = left / (after + left);
            double start = (1.0 - alpha) * at[1][k] + alpha * here;
            double end = after + left == 0.0 ? here : (1.0 - next) * here + next * at[3][k];
            /* Where the slope does not change, GSL draws a straight line. */
            int is_straight = right + before == 0.0;
            b[k] = is_straight ? here : start;
            c[k] = is_straight ? 0.0 : (3.0 * here - 2.0 * start - end) / h;
            d[k] = is_straight ? 0.0 : (start + end - 2.0 * here) / (h * h);
        }
    }
}

PyObject *
akima_cubics(PyObject *Py_UNUSED(module), PyObject *args)
{
    enum { X, Y, OUT, ARGUMENTS };
    static const Array arrays[] = {{"x", FLOAT64, 1, 0}, {"y", FLOAT64, 2, 0}, {"out", FLOAT64, 3, 1}};
    PyObject *objects[ARGUMENTS];
    Py_buffer views[ARGUMENTS];
    if (!PyArg_ParseTuple(args, "OOO", &objects[0], &objects[1], &objects[2]) ||
        take_arrays(arrays, objects, views, ARGUMENTS) < 0) {
        return NULL;
    }
    Py_ssize_t n = views[X].shape[0], curves = views[Y].shape[1];
    double(*slopes)[CURVES] = NULL;
    int status = check_shape(&arrays[Y], &views[Y], n, curves);
    status = status < 0 ? status : check_shape(&arrays[OUT], &views[OUT], n + 1, 4, curves);
    if (status == 0 && n < 3) {
        PyErr_SetString(PyExc_ValueError, "x must have at least 3 positions");
        status = -1;
    }
    if (status == 0 && (slopes = PyMem_Malloc((size_t)(n + 3) * sizeof *slopes)) == NULL) {
        PyErr_NoMemory();
        status = -1;
    }
    for (Py_ssize_t first = 0; first < curves && status == 0; first += CURVES) {
        int some = curves - first < CURVES ? (int)(curves - first) : CURVES;
        interpolate_akima(views[X].buf, (const double *)views[Y].buf + first, n, curves, some, slopes,
                          (double *)views[OUT].buf + first);
    }
    PyMem_Free(slopes);
    release_arrays(views, ARGUMENTS);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

/* Combine the coefficients of some curves. */
FOR_EACH_PROCESSOR
static void
combine(const double *restrict coefficients, const double *restrict terms, Py_ssize_t n, float *restrict out)
{
    for (int sum = 0; sum < 4; sum++) {
        const double *t = terms + 4 * sum;
        for (Py_ssize_t i = 0; i < n; i++) {
            const double *c = coefficients + i;
            out[sum * n + i] = (float)(t[0] * c[0] + t[1] * c[n] + t[2] * c[2 * n] + t[3] * c[3 * n]);
        }
    }
}

/* Check that pieces exist; returns -1 with an exception set if not. */
static int
check_pieces(const Py_buffer *view, Py_ssize_t n)
{
    const int64_t *pieces = view->buf;
    for (Py_ssize_t i = 0; i < view->shape[0]; i++) {
        if (pieces[i] < 0 || pieces[i] >= n) {
            PyErr_Format(PyExc_ValueError, "pieces must be from 0 to %zd", n - 1);
            return -1;
        }
    }
    return 0;
}

PyObject *
combine_cubics(PyObject *Py_UNUSED(module), PyObject *args)
{
    enum { COEFFICIENTS, TERMS, PIECES, OUT, ARGUMENTS };
    static const Array arrays[] = {
        {"coefficients", FLOAT64, 3, 0}, {"terms", FLOAT64, 3, 0}, {"pieces", INT64, 1, 0}, {"out", FLOAT32, 3, 1},
    };
    PyObject *objects[ARGUMENTS];
    Py_buffer views[ARGUMENTS];
    if (!PyArg_ParseTuple(args, "OOOO", &objects[0], &objects[1], &objects[2], &objects[3]) ||
        take_arrays(arrays, objects, views, ARGUMENTS) < 0) {
        return NULL;
    }
    const Py_ssize_t *shape = views[COEFFICIENTS].shape;
    Py_ssize_t curves = shape[2], n = views[PIECES].shape[0];
    const int64_t *pieces = views[PIECES].buf;
    int status = check_shape(&arrays[COEFFICIENTS], &views[COEFFICIENTS], shape[0], 4, curves);
    status = status < 0 ? status : check_shape(&arrays[TERMS], &views[TERMS], n, 4, 4);
    status = status < 0 ? status : check_shape(&arrays[OUT], &views[OUT], n, 4, curves);
    status = status < 0 ? status : check_pieces(&views[PIECES], shape[0]);
    for (Py_ssize_t i = 0; i < n && status == 0; i++) {
        combine((const double *)views[COEFFICIENTS].buf + pieces[i] * 4 * curves,
                (const double *)views[TERMS].buf + i * 16, curves, (float *)views[OUT].buf + i * 4 * curves);
    }
    release_arrays(views, ARGUMENTS);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

/* Evaluate a cubic as GSL does, by nested sums. */
FOR_EACH_PROCESSOR
static void
fill_float(float *restrict out, const double *restrict x, Py_ssize_t n, double a, double b, double c, double d)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        out[i] = (float)(a + x[i] * (b + x[i] * (c + x[i] * d)));
    }
}

FOR_EACH_PROCESSOR
static void
fill_double(double *restrict out, const double *restrict x, Py_ssize_t n, double a, double b, double c, double d)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        out[i] = a + x[i] * (b + x[i] * (c + x[i] * d));
    }
}

PyObject *
evaluate_cubics(PyObject *Py_UNUSED(module), PyObject *args)
{
    enum { COEFFICIENTS, DISTANCES, PIECES, OUT, ARGUMENTS };
    static const Array arrays[] = {
        {"coefficients", FLOAT64, 3, 0}, {"distances", FLOAT64, 1, 0}, {"pieces", INT64, 1, 0},
        {"out", FLOAT32_OR_64, 2, 1},
    };
    PyObject *objects[ARGUMENTS];
    Py_buffer views[ARGUMENTS];
    if (!PyArg_ParseTuple(args, "OOOO", &objects[0], &objects[1], &objects[2], &objects[3]) ||
        take_arrays(arrays, objects, views, ARGUMENTS) < 0) {
        return NULL;
    }
    int is_double = views[OUT].itemsize == sizeof(double);
    const Py_ssize_t *shape = views[COEFFICIENTS].shape;
    Py_ssize_t curves = shape[2], n = views[DISTANCES].shape[0];
    const double *coefficients = views[COEFFICIENTS].buf, *x = views[DISTANCES].buf;
    const int64_t *pieces = views[PIECES].buf;
    Py_ssize_t *stops = NULL; /* where the run of positions in one piece ends */
    int status = check_shape(&arrays[COEFFICIENTS], &views[COEFFICIENTS], shape[0], 4, curves);
    status = status < 0 ? status : check_shape(&arrays[PIECES], &views[PIECES], n);
    status = status < 0 ? status : check_shape(&arrays[OUT], &views[OUT], curves, n);
    status = status < 0 ? status : check_pieces(&views[PIECES], shape[0]);
    if (status == 0 && (stops = PyMem_Malloc((size_t)n * sizeof *stops)) == NULL) {
        PyErr_NoMemory();
        status = -1;
    }
    if (status == 0) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = n - 1; i >= 0; i--) {
            stops[i] = i < n - 1 && pieces[i + 1] == pieces[i] ? stops[i + 1] : i + 1;
        }
        for (Py_ssize_t curve = 0; curve < curves; curve++) {
            for (Py_ssize_t start = 0, stop; start < n; start = stop) {
                const double *c = coefficients + pieces[start] * 4 * curves + curve;
                stop = stops[start];
                if (is_double) {
                    fill_double((double *)views[OUT].buf + curve * n + start, x + start, stop - start, c[0],
                                c[curves], c[2 * curves], c[3 * curves]);
                }
                else {
                    fill_float((float *)views[OUT].buf + curve * n + start, x + start, stop - start, c[0],
                               c[curves], c[2 * curves], c[3 * curves]);
                }
            }
        }
        Py_END_ALLOW_THREADS
    }
    PyMem_Free(stops);
    release_arrays(views, ARGUMENTS);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}
