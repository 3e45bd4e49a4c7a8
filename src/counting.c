/* Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE. */
/* How many pixels of strips lie below a value.
 *
 * Strips are cut into halves, nearly quadratic about their centres; the two
 * places where a half reaches the value say how many of its pixels are below.
 */

#include "arrays.h"
#include "modules.h"

#include <math.h>
#include <stdint.h>

/* Halves that are counted together: few enough for a core's cache. */
#define PIECE 512
/* Less than any square of a slope, but not zero. */
#define TINY 1e-37f
/* A place outside of -1 to 1. */
#define OUTSIDE 1.2f
/* Slope of the line that is nearest to u^3. */
#define LEANING 0.6f
/* Besides that line, a cubic of 1 stays within this of its value at an end. */
#define BEND 0.4f

/* Halves of strips: polynomials of u, from -1 to 1. */
typedef struct Piece {
    struct Piece *next;
    int n;
    float value[PIECE];
    float slope[PIECE];
    float curve[PIECE];
    float cubic[PIECE];  /* coefficient of u^3 - LEANING u */
    float length[PIECE]; /* pixels of the strip */
    float side[PIECE];   /* -1 for its first half, 1 for its second */
    float weight[PIECE]; /* rows that each stands for; less than 0 where the pixels between the roots are those
                            that are not below */
} Piece;

/* Where a half of a strip is, in pixels from the strip's first. */
typedef struct {
    float start, stop;   /* first pixel and the one after the last */
    float center, scale; /* where u is 0, and its unit */
} Place;

INLINE Place
find_place(float length, float side)
{
    float middle = floorf(0.5f * length);
    return (Place){
        .start = side > 0.0f ? middle : 0.0f,
        .stop = side > 0.0f ? length : middle,
        .center = (0.5f + 0.25f * side) * length - 0.5f,
        .scale = 0.25f * length,
    };
}

typedef struct {
    PyObject_HEAD
    double base; /* pixels below the bracket, and all of halves that curve down */
    float scale; /* what brings values to the order of 1 */
    Piece *pieces;
} Window;

/* Halve some rows of a strip; coefficients are of Legendre's polynomials. */
INLINE void
halve(const float *restrict coefficients, Py_ssize_t stride, int n, float side, float scale,
      float cubics[restrict 4][ROWS_PER_BLOCK])
{
    for (int i = 0; i < n; i++) {
        float c0 = scale * coefficients[i], c1 = scale * coefficients[i + stride];
        float c2 = scale * coefficients[i + 2 * stride], c3 = scale * coefficients[i + 3 * stride];
        float a0 = c0 - 0.5f * c2, a1 = c1 - 1.5f * c3, a2 = 1.5f * c2, a3 = 2.5f * c3;
        cubics[0][i] = (a0 + 0.25f * a2) + side * (0.5f * a1 + 0.125f * a3);
        cubics[1][i] = 0.5f * a1 + side * (0.5f * a2) + (0.375f + 0.125f * LEANING) * a3;
        cubics[2][i] = 0.25f * a2 + side * (0.375f * a3);
        cubics[3][i] = 0.125f * a3;
    }
}

static Piece *
with_room(Window *window)
{
    Piece *piece = window->pieces;
    if (piece == NULL || piece->n == PIECE) {
        piece = PyMem_Malloc(sizeof(Piece));
        if (piece != NULL) {
            piece->next = window->pieces;
            piece->n = 0;
            window->pieces = piece;
        }
    }
    return piece;
}

/* Keep a half of some pixels; returns -1 if there is no memory. */
INLINE int
add_half(Window *window, const float cubics[4][ROWS_PER_BLOCK], int row, float length, float side, double pixels,
         float rows)
{
    Piece *piece = with_room(window);
    if (piece == NULL) {
        return -1;
    }
    /* A curve of -0 is one of 0. */
    float value = cubics[0][row], slope = cubics[1][row], curve = cubics[2][row] + 0.0f;
    if (slope == 0.0f && curve == 0.0f) {
        /* The root is far to one side; a value is not below itself. */
        slope = TINY;
        value = nextafterf(value, INFINITY);
    }
    int i = piece->n++;
    piece->value[i] = value;
    piece->slope[i] = slope;
    piece->curve[i] = curve;
    piece->cubic[i] = cubics[3][row];
    piece->length[i] = length;
    piece->side[i] = side;
    piece->weight[i] = rows;
    if (curve < 0.0f) {
        piece->weight[i] = -rows;
        window->base += pixels * (double)rows;
    }
    return 0;
}

/* Halve a block of rows of a strip, keep the halves that reach into a bracket
 * and count the pixels of those below; returns -1 if there is no memory. */
INLINE int
add_rows(Window *window, const float *coefficients, Py_ssize_t stride, int n, float length, const double *weights,
         float first, float last)
{
    float cubics[4][ROWS_PER_BLOCK];
    int is_below[ROWS_PER_BLOCK], is_near[ROWS_PER_BLOCK];
    for (float side = -1.0f; side < 2.0f; side += 2.0f) {
        halve(coefficients, stride, n, side, window->scale, cubics);
        int below = 0, near = 0;
        for (int i = 0; i < n; i++) {
            float reach = BEND * fabsf(cubics[3][i]) + fabsf(cubics[2][i]) + fabsf(cubics[1][i]);
            is_below[i] = cubics[0][i] + reach < first;
            is_near[i] = !is_below[i] & (cubics[0][i] - reach <= last);
            below += is_below[i];
            near += is_near[i];
        }
        Place place = find_place(length, side);
        double pixels = place.stop - place.start;
        for (int i = 0; below > 0 && i < n; i++) {
            window->base += is_below[i] ? pixels * weights[i] : 0.0;
        }
        for (int i = 0; near > 0 && i < n; i++) {
            if (is_near[i] && add_half(window, cubics, i, length, side, pixels, (float)weights[i]) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

FOR_EACH_PROCESSOR
static int
add_block(Window *window, const float *coefficients, Py_ssize_t stride, int n, float length,
          const double *weights, float first, float last)
{
    /* Loops of a known length are compiled best. */
    if (n == ROWS_PER_BLOCK) {
        return add_rows(window, coefficients, stride, ROWS_PER_BLOCK, length, weights, first, last);
    }
    return add_rows(window, coefficients, stride, n, length, weights, first, last);
}

/* Count the pixels of each half between the two places where a value is
 * reached; `square` is that of the slope there. */
INLINE void
count_between_roots(const Piece *restrict p, float value, float *restrict square, float *restrict between)
{
    for (int i = 0; i < p->n; i++) {
        float slope = p->slope[i], twice_curve = 2.0f * p->curve[i], cubic = p->cubic[i];
        float twice_rest = 2.0f * (value - p->value[i]);
        float squared = twice_curve * twice_rest + slope * slope;
        float root = copysignf(sqrtf(squared > 0.0f ? squared : 0.0f), slope);
        /* The root that does not cancel, and the other by their product; the
         * second is that of the line where the curve vanishes. */
        float q = root + slope;
        float one = -q / twice_curve, two = twice_rest / q;
        one = one < OUTSIDE ? one : OUTSIDE;
        two = two < OUTSIDE ? two : OUTSIDE;
        one = one > -OUTSIDE ? one : -OUTSIDE;
        two = two > -OUTSIDE ? two : -OUTSIDE;
        /* A step of Newton's for the cubic; the slope at the roots is known.
         * Where it is small, the quadratic is as good. */
        float stiff = 8.0f * cubic;
        float step = root * cubic / (root * root + stiff * stiff + TINY);
        one += (one * one - LEANING) * one * step;
        two -= (two * two - LEANING) * two * step;
        Place place = find_place(p->length[i], p->side[i]);
        one = one * place.scale + place.center;
        two = two * place.scale + place.center;
        one = one > place.start ? one : place.start;
        two = two > place.start ? two : place.start;
        one = ceilf(one < place.stop ? one : place.stop);
        two = ceilf(two < place.stop ? two : place.stop);
        between[i] = squared >= 0.0f ? fabsf(one - two) : 0.0f;
        square[i] = squared;
    }
}

/* A cubic of u, at the pixels of a half. */
typedef struct {
    float slope, curve, cubic, center, unit;
} Cubic;

INLINE float
evaluate(const Cubic *f, int pixel)
{
    float u = ((float)pixel - f->center) * f->unit;
    return ((f->cubic * u + f->curve) * u + f->slope) * u;
}

/* Count the pixels below a value of those from one to another, between which
 * the cubic rises or falls. */
static int
count_monotone(const Cubic *f, float value, int start, int stop)
{
    if (start >= stop) {
        return 0;
    }
    int is_rising = evaluate(f, stop - 1) > evaluate(f, start), first = start, last = stop;
    while (first < last) {
        int middle = first + (last - first) / 2;
        if ((evaluate(f, middle) < value) == is_rising) {
            first = middle + 1;
        }
        else {
            last = middle;
        }
    }
    return is_rising ? first - start : stop - first;
}

/* Count the same of one half, by bisection between its turning points. */
static float
count_between_turns(const Piece *p, int i, float value)
{
    Place place = find_place(p->length[i], p->side[i]);
    Cubic f = {.slope = p->slope[i] - LEANING * p->cubic[i],
               .curve = p->curve[i],
               .cubic = p->cubic[i],
               .center = place.center,
               .unit = 1.0f / place.scale};
    int start = (int)place.start, stop = (int)place.stop;
    float q = -(f.curve + copysignf(sqrtf(fmaxf(f.curve * f.curve - 3.0f * f.slope * f.cubic, 0.0f)), f.curve));
    float turns[] = {q / (3.0f * f.cubic), f.slope / q};
    int edges[2] = {stop, stop};
    for (int k = 0; k < 2; k++) {
        if (fabsf(turns[k]) < 1.0f) {
            int edge = (int)ceilf(turns[k] * place.scale + place.center);
            edges[k] = edge < start ? start : edge > stop ? stop : edge;
        }
    }
    int first = edges[0] < edges[1] ? edges[0] : edges[1], second = edges[0] < edges[1] ? edges[1] : edges[0];
    float rest = value - p->value[i];
    int n = count_monotone(&f, rest, start, first) + count_monotone(&f, rest, first, second) +
            count_monotone(&f, rest, second, stop);
    return (float)(p->weight[i] < 0.0f ? stop - start - n : n);
}

/* Count the pixels of halves below a value, less those of the halves that
 * curve down. */
FOR_EACH_PROCESSOR
static double
count_piece(const Piece *p, float value)
{
    float square[PIECE], between[PIECE];
    double sums[LANES] = {0.0};
    count_between_roots(p, value, square, between);
    for (int i = 0; i < p->n; i++) {
        /* Beside a turning point a step cannot follow the cubic. */
        if (fabsf(square[i]) < p->curve[i] * p->curve[i]) {
            between[i] = count_between_turns(p, i, value);
        }
    }
    int whole = p->n - p->n % LANES;
    for (int i = 0; i < whole; i += LANES) {
        for (int lane = 0; lane < LANES; lane++) {
            sums[lane] += (double)between[i + lane] * (double)p->weight[i + lane];
        }
    }
    for (int i = whole; i < p->n; i++) {
        sums[i - whole] += (double)between[i] * (double)p->weight[i];
    }
    return sum_lanes(sums);
}

static PyObject *
window_count_below(PyObject *self, PyObject *argument)
{
    Window *window = (Window *)self;
    double value = PyFloat_AsDouble(argument);
    if (value == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    float scaled = (float)value * window->scale;
    double count = window->base;
    for (const Piece *piece = window->pieces; piece != NULL; piece = piece->next) {
        count += count_piece(piece, scaled);
    }
    return PyFloat_FromDouble(count);
}

/* Arguments of a window. */
enum { COEFFICIENTS, LENGTHS, WEIGHTS, STARTS, ROWS, LOW, HIGH, KEEP, ARGUMENTS };

static const Array WINDOW_ARRAYS[] = {
    {"coefficients", FLOAT32, 3, 0}, {"lengths", INT64, 1, 0}, {"weights", FLOAT64, 1, 0},
    {"starts", INT64, 1, 0},         {"rows", FLOAT64, 1, 0},  {"low", FLOAT32, 2, 0},
    {"high", FLOAT32, 2, 0},         {"keep", BOOL, 2, 0},
};

static int
check_window(const Py_buffer *views, int n)
{
    Py_ssize_t strips = views[LENGTHS].shape[0], rows = views[WEIGHTS].shape[0];
    Py_ssize_t blocks = views[STARTS].shape[0] - 1;
    const Array *arrays = WINDOW_ARRAYS;
    if (check_shape(&arrays[COEFFICIENTS], &views[COEFFICIENTS], 4, strips, rows) < 0 ||
        check_shape(&arrays[ROWS], &views[ROWS], blocks) < 0) {
        return -1;
    }
    for (int i = LOW; i < n; i++) {
        if (check_shape(&arrays[i], &views[i], strips, blocks) < 0) {
            return -1;
        }
    }
    return check_starts(views[STARTS].buf, blocks, rows);
}

static int
fill_window(Window *window, const Py_buffer *views, int n, float first, float last)
{
    const float *coefficients = views[COEFFICIENTS].buf, *low = views[LOW].buf, *high = views[HIGH].buf;
    const int64_t *lengths = views[LENGTHS].buf, *starts = views[STARTS].buf;
    const double *weights = views[WEIGHTS].buf, *of_blocks = views[ROWS].buf;
    const char *keep = n > KEEP ? views[KEEP].buf : NULL;
    Py_ssize_t strips = views[LENGTHS].shape[0], rows = views[WEIGHTS].shape[0];
    Py_ssize_t blocks = views[STARTS].shape[0] - 1;
    for (Py_ssize_t s = 0; s < strips; s++) {
        for (Py_ssize_t b = 0; b < blocks; b++) {
            Py_ssize_t block = s * blocks + b;
            if ((keep != NULL && !keep[block]) || (high[block] >= first && low[block] > last)) {
                continue;
            }
            if (high[block] < first) {
                window->base += of_blocks[b] * (double)lengths[s];
            }
            else if (add_block(window, coefficients + s * rows + starts[b], strips * rows,
                               (int)(starts[b + 1] - starts[b]), (float)lengths[s], weights + starts[b],
                               first * window->scale, last * window->scale) < 0) {
                PyErr_NoMemory();
                return -1;
            }
        }
    }
    return 0;
}

static PyObject *
window_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *objects[ARGUMENTS];
    Py_buffer views[ARGUMENTS];
    float first, last, scale;
    if (keywords != NULL && PyDict_Size(keywords) > 0) {
        PyErr_SetString(PyExc_TypeError, "Window takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OOOOOOOOfff", &objects[COEFFICIENTS], &objects[LENGTHS], &objects[WEIGHTS],
                          &objects[STARTS], &objects[ROWS], &objects[LOW], &objects[HIGH], &objects[KEEP], &first,
                          &last, &scale)) {
        return NULL;
    }
    int n = objects[KEEP] == Py_None ? KEEP : ARGUMENTS;
    if (take_arrays(WINDOW_ARRAYS, objects, views, n) < 0) {
        return NULL;
    }
    Window *window = NULL;
    if (check_window(views, n) == 0) {
        allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
        window = (Window *)allocate(type, 0);
    }
    if (window != NULL) {
        window->base = 0.0;
        window->scale = scale;
        window->pieces = NULL;
        if (fill_window(window, views, n, first, last) < 0) {
            Py_DECREF(window);
            window = NULL;
        }
    }
    release_arrays(views, n);
    return (PyObject *)window;
}

static void
window_dealloc(PyObject *self)
{
    Piece *piece = ((Window *)self)->pieces;
    while (piece != NULL) {
        Piece *next = piece->next;
        PyMem_Free(piece);
        piece = next;
    }
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef window_methods[] = {
    {"count_below", window_count_below, METH_O, "Count the pixels below a value in the bracket."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot window_slots[] = {
    {Py_tp_doc, "What it takes to count pixels below values in a bracket."},
    {Py_tp_new, window_new},
    {Py_tp_dealloc, window_dealloc},
    {Py_tp_methods, window_methods},
    {0, NULL},
};

static PyType_Spec window_spec = {
    .name = "lsst.bgqa._compiled.Window",
    .basicsize = sizeof(Window),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = window_slots,
};

int
add_window(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &window_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int status = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return status;
}
