/* Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE. */
/* The strips with the greatest pixels.
 *
 * Blocks of strips are passed over whose bounds are below what was found.
 */

#include "arrays.h"
#include "modules.h"

#include <math.h>

typedef struct {
    double height;
    int64_t strip, row, pixel;
} Summit;

/* The strips found so far, the highest first. */
typedef struct {
    int n;
    Summit summits[MOST_STRIPS];
} Range;

static void
insert(Range *range, Summit summit)
{
    int i = range->n < MOST_STRIPS ? range->n++ : MOST_STRIPS - 1;
    for (; i > 0 && range->summits[i - 1].height < summit.height; i--) {
        range->summits[i] = range->summits[i - 1];
    }
    range->summits[i] = summit;
}

/* Find the greatest pixel of a cubic: at an end, or next to where its slope
 * vanishes. Coefficients are of Legendre's polynomials. */
static Summit
find_summit(const float *coefficients, Py_ssize_t stride, double sign, double length)
{
    double c0 = sign * coefficients[0], c1 = sign * coefficients[stride];
    double c2 = sign * coefficients[2 * stride], c3 = sign * coefficients[3 * stride];
    double a0 = c0 - 0.5 * c2, a1 = c1 - 1.5 * c3, a2 = 1.5 * c2, a3 = 2.5 * c3;
    double q = -(a2 + copysign(sqrt(fmax(a2 * a2 - 3.0 * a1 * a3, 0.0)), a2));
    double turns[] = {q / (3.0 * a3), a1 / q};
    double pixels[6] = {0.0, length - 1.0};
    int n = 2;
    for (int i = 0; i < 2; i++) {
        if (fabs(turns[i]) < 1.0) {
            double turn = 0.5 * (length * (1.0 + turns[i]) - 1.0);
            pixels[n++] = fmax(floor(turn), 0.0);
            pixels[n++] = fmin(ceil(turn), length - 1.0);
        }
    }
    Summit summit = {.height = -INFINITY};
    for (int i = 0; i < n; i++) {
        double t = (2.0 * pixels[i] + 1.0) / length - 1.0;
        double height = ((a3 * t + a2) * t + a1) * t + a0;
        if (height > summit.height) {
            summit.height = height;
            summit.pixel = (int64_t)pixels[i];
        }
    }
    return summit;
}

enum { COEFFICIENTS, LENGTHS, STARTS, FOUND, BOUNDS, KEEP, ARGUMENTS };

static const Array ARRAYS[] = {
    {"coefficients", FLOAT32, 3, 0}, {"lengths", INT64, 1, 0}, {"starts", INT64, 1, 0},
    {"found", INT64, 2, 1},          {"bounds", FLOAT32, 2, 0}, {"keep", BOOL, 2, 0},
};

static int
check(const Py_buffer *views, int n)
{
    Py_ssize_t strips = views[LENGTHS].shape[0], blocks = views[STARTS].shape[0] - 1;
    Py_ssize_t rows = views[COEFFICIENTS].shape[2];
    if (check_shape(&ARRAYS[COEFFICIENTS], &views[COEFFICIENTS], 4, strips, rows) < 0 ||
        check_shape(&ARRAYS[FOUND], &views[FOUND], 3, MOST_STRIPS) < 0) {
        return -1;
    }
    for (int i = BOUNDS; i < n; i++) {
        if (check_shape(&ARRAYS[i], &views[i], strips, blocks) < 0) {
            return -1;
        }
    }
    return check_starts(views[STARTS].buf, blocks, rows);
}

static void
search_block(Range *range, const Py_buffer *views, Py_ssize_t block, double sign)
{
    Py_ssize_t blocks = views[STARTS].shape[0] - 1, strips = views[LENGTHS].shape[0];
    Py_ssize_t rows = views[COEFFICIENTS].shape[2], strip = block / blocks;
    const int64_t *starts = (const int64_t *)views[STARTS].buf + block % blocks;
    const float *coefficients = (const float *)views[COEFFICIENTS].buf + strip * rows;
    double length = (double)((const int64_t *)views[LENGTHS].buf)[strip];
    for (int64_t row = starts[0]; row < starts[1]; row++) {
        Summit summit = find_summit(coefficients + row, strips * rows, sign, length);
        if (range->n < MOST_STRIPS || summit.height > range->summits[MOST_STRIPS - 1].height) {
            summit.strip = strip;
            summit.row = row;
            insert(range, summit);
        }
    }
}

PyObject *
find_highest(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *objects[ARGUMENTS];
    Py_buffer views[ARGUMENTS];
    double sign;
    if (!PyArg_ParseTuple(args, "OOOOOOd", &objects[COEFFICIENTS], &objects[LENGTHS], &objects[STARTS],
                          &objects[BOUNDS], &objects[KEEP], &objects[FOUND], &sign)) {
        return NULL;
    }
    int arguments = objects[KEEP] == Py_None ? KEEP : ARGUMENTS;
    if (take_arrays(ARRAYS, objects, views, arguments) < 0) {
        return NULL;
    }
    Range range = {.n = 0};
    int status = check(views, arguments);
    if (status == 0) {
        const float *bounds = views[BOUNDS].buf;
        const char *keep = arguments == KEEP ? NULL : views[KEEP].buf;
        Py_ssize_t n = views[BOUNDS].shape[0] * views[BOUNDS].shape[1], best = -1;
        for (Py_ssize_t i = 0; i < n; i++) {
            if ((keep == NULL || keep[i]) && (best < 0 || sign * bounds[i] > sign * bounds[best])) {
                best = i;
            }
        }
        /* What is most promising first leaves little to search. */
        if (best >= 0) {
            search_block(&range, views, best, sign);
        }
        for (Py_ssize_t i = 0; i < n; i++) {
            if ((keep == NULL || keep[i]) && i != best && sign * bounds[i] >= range.summits[0].height) {
                search_block(&range, views, i, sign);
            }
        }
        int64_t *found = views[FOUND].buf;
        for (int i = 0; i < range.n; i++) {
            found[i] = range.summits[i].strip;
            found[MOST_STRIPS + i] = range.summits[i].row;
            found[2 * MOST_STRIPS + i] = range.summits[i].pixel;
        }
    }
    release_arrays(views, arguments);
    return status < 0 ? NULL : PyLong_FromLong(range.n);
}
