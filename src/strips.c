/* Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE. */
/* Bounds and moments of strips, from the coefficients of their polynomials.
 *
 * Coefficients are of Legendre's polynomials, shape (n, strips, rows), where n
 * is 4, or 1 for strips that are pixels.
 */

#include "arrays.h"
#include "modules.h"

#include <math.h>
#include <stdint.h>

static int
check_coefficients(const Array *array, const Py_buffer *view)
{
    if (view->shape[0] == 1 || view->shape[0] == 4) {
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "%s must be 1 or 4, not %zd", array->name, view->shape[0]);
    return -1;
}

/* Bound the pixels of some rows of a strip. */
INLINE void
bound_rows(const float *coefficients, Py_ssize_t stride, int terms, int n, float *low, float *high)
{
    float least[ROWS_PER_BLOCK], greatest[ROWS_PER_BLOCK];
    for (int i = 0; i < n; i++) {
        const float *c = coefficients + i;
        /* No polynomial leaves +-1. */
        float half = terms == 1 ? 0.0f : fabsf(c[stride]) + fabsf(c[2 * stride]) + fabsf(c[3 * stride]);
        least[i] = c[0] - half;
        greatest[i] = c[0] + half;
    }
    for (int step = ROWS_PER_BLOCK / 2; step > 0; step /= 2) {
        for (int i = 0; i < step && i + step < n; i++) {
            least[i] = least[i] < least[i + step] ? least[i] : least[i + step];
            greatest[i] = greatest[i] > greatest[i + step] ? greatest[i] : greatest[i + step];
        }
    }
    *low = least[0];
    *high = greatest[0];
}

FOR_EACH_PROCESSOR
static void
bound_strip(const float *coefficients, Py_ssize_t stride, int terms, const int64_t *starts, Py_ssize_t blocks,
            float *low, float *high)
{
    for (Py_ssize_t b = 0; b < blocks; b++) {
        const float *c = coefficients + starts[b];
        int n = (int)(starts[b + 1] - starts[b]);
        /* Loops of a known length are compiled best. */
        if (n == ROWS_PER_BLOCK && terms == 4) {
            bound_rows(c, stride, 4, ROWS_PER_BLOCK, low + b, high + b);
        }
        else {
            bound_rows(c, stride, terms, n, low + b, high + b);
        }
    }
}

PyObject *
bound_blocks(PyObject *Py_UNUSED(module), PyObject *args)
{
    enum { COEFFICIENTS, STARTS, LOW, HIGH, ARGUMENTS };
    static const Array arrays[] = {
        {"coefficients", FLOAT32, 3, 0}, {"starts", INT64, 1, 0}, {"low", FLOAT32, 2, 1},
        {"high", FLOAT32, 2, 1},
    };
    PyObject *objects[ARGUMENTS];
    Py_buffer views[ARGUMENTS];
    if (!PyArg_ParseTuple(args, "OOOO", &objects[0], &objects[1], &objects[2], &objects[3]) ||
        take_arrays(arrays, objects, views, ARGUMENTS) < 0) {
        return NULL;
    }
    const Py_ssize_t *shape = views[COEFFICIENTS].shape;
    Py_ssize_t strips = shape[1], rows = shape[2], blocks = views[STARTS].shape[0] - 1;
    int status = check_coefficients(&arrays[COEFFICIENTS], &views[COEFFICIENTS]);
    for (int i = LOW; i < ARGUMENTS && status == 0; i++) {
        status = check_shape(&arrays[i], &views[i], strips, blocks);
    }
    status = status < 0 ? status : check_starts(views[STARTS].buf, blocks, rows);
    for (Py_ssize_t s = 0; s < strips && status == 0; s++) {
        bound_strip((const float *)views[COEFFICIENTS].buf + s * rows, strips * rows, (int)shape[0],
                    views[STARTS].buf, blocks, (float *)views[LOW].buf + s * blocks,
                    (float *)views[HIGH].buf + s * blocks);
    }
    release_arrays(views, ARGUMENTS);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

/* Sums over the rows of a strip, each of a lane of its own. */
typedef struct {
    double sums[4][LANES], first[4][LANES], squares[6][LANES];
} Moments;

INLINE void
add_rows(Moments *m, const float *coefficients, Py_ssize_t stride, int terms, double near, const double *weights,
         const double *arms, int n)
{
    for (int lane = 0; lane < n; lane++) {
        const float *c = coefficients + lane;
        double weight = weights[lane], arm = arms[lane];
        double c0 = c[0] - near;
        m->sums[0][lane] += weight * c0;
        m->first[0][lane] += arm * c0;
        m->squares[0][lane] += weight * (c0 * c0);
        if (terms == 4) {
            double c1 = c[stride], c2 = c[2 * stride], c3 = c[3 * stride];
            m->sums[1][lane] += weight * c1;
            m->sums[2][lane] += weight * c2;
            m->sums[3][lane] += weight * c3;
            m->first[1][lane] += arm * c1;
            m->first[2][lane] += arm * c2;
            m->first[3][lane] += arm * c3;
            m->squares[1][lane] += weight * (c0 * c2);
            m->squares[2][lane] += weight * (c1 * c1);
            m->squares[3][lane] += weight * (c1 * c3);
            m->squares[4][lane] += weight * (c2 * c2);
            m->squares[5][lane] += weight * (c3 * c3);
        }
    }
}

FOR_EACH_PROCESSOR
static void
sum_strip(Moments *m, const float *coefficients, Py_ssize_t stride, int terms, double near, const double *weights,
          const double *arms, Py_ssize_t rows)
{
    Py_ssize_t row = 0;
    *m = (Moments){0};
    /* Loops of a known length are compiled best. */
    if (terms == 4) {
        for (; row + LANES <= rows; row += LANES) {
            add_rows(m, coefficients + row, stride, 4, near, weights + row, arms + row, LANES);
        }
    }
    for (; row < rows; row += LANES) {
        int n = rows - row < LANES ? (int)(rows - row) : LANES;
        add_rows(m, coefficients + row, stride, terms, near, weights + row, arms + row, n);
    }
}

PyObject *
sum_moments(PyObject *Py_UNUSED(module), PyObject *args)
{
    enum { COEFFICIENTS, WEIGHTS, ARMS, SUMS, FIRST, SQUARES, ARGUMENTS };
    static const Array arrays[] = {
        {"coefficients", FLOAT32, 3, 0}, {"weights", FLOAT64, 1, 0}, {"arms", FLOAT64, 1, 0},
        {"sums", FLOAT64, 2, 1},         {"first", FLOAT64, 2, 1},   {"squares", FLOAT64, 2, 1},
    };
    PyObject *objects[ARGUMENTS];
    Py_buffer views[ARGUMENTS];
    double near;
    if (!PyArg_ParseTuple(args, "OdOOOOO", &objects[0], &near, &objects[1], &objects[2], &objects[3], &objects[4],
                          &objects[5]) ||
        take_arrays(arrays, objects, views, ARGUMENTS) < 0) {
        return NULL;
    }
    const Py_ssize_t *shape = views[COEFFICIENTS].shape;
    Py_ssize_t terms = shape[0], strips = shape[1], rows = shape[2];
    int status = check_coefficients(&arrays[COEFFICIENTS], &views[COEFFICIENTS]);
    for (int i = WEIGHTS; i <= ARMS && status == 0; i++) {
        status = check_shape(&arrays[i], &views[i], rows);
    }
    for (int i = SUMS; i < ARGUMENTS && status == 0; i++) {
        status = check_shape(&arrays[i], &views[i], i == SQUARES && terms == 4 ? 6 : terms, strips);
    }
    for (Py_ssize_t s = 0; s < strips && status == 0; s++) {
        Moments m;
        sum_strip(&m, (const float *)views[COEFFICIENTS].buf + s * rows, strips * rows, (int)terms, near,
                  views[WEIGHTS].buf, views[ARMS].buf, rows);
        for (Py_ssize_t i = 0; i < terms; i++) {
            ((double *)views[SUMS].buf)[i * strips + s] = sum_lanes(m.sums[i]);
            ((double *)views[FIRST].buf)[i * strips + s] = sum_lanes(m.first[i]);
        }
        for (Py_ssize_t i = 0; i < views[SQUARES].shape[0]; i++) {
            ((double *)views[SQUARES].buf)[i * strips + s] = sum_lanes(m.squares[i]);
        }
    }
    release_arrays(views, ARGUMENTS);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}
