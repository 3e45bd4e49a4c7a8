/* Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE. */
/* The module lsst.bgqa._compiled. */

#include "arrays.h"
#include "modules.h"

static PyMethodDef methods[] = {
    {"bound_blocks", bound_blocks, METH_VARARGS, "Bound the pixels of blocks of strips."},
    {"sum_moments", sum_moments, METH_VARARGS, "Sum coefficients, their products and first moments over rows."},
    {"akima_cubics", akima_cubics, METH_VARARGS, "Interpolate curves by Akima's method."},
    {"combine_cubics", combine_cubics, METH_VARARGS, "Combine the coefficients of curves."},
    {"find_highest", find_highest, METH_VARARGS, "Find the strips with the greatest pixels."},
    {"chebyshev_terms", chebyshev_terms, METH_VARARGS, "Evaluate Chebyshev's polynomials."},
    {"sum_terms", sum_terms, METH_VARARGS, "Sum the terms in y of a polynomial of a total order."},
    {"evaluate_cubics", evaluate_cubics, METH_VARARGS, "Evaluate curves that are cubics between breaks."},
    {NULL, NULL, 0, NULL},
};

static int
execute(PyObject *module)
{
    if (PyModule_AddIntMacro(module, ROWS_PER_BLOCK) < 0 || PyModule_AddIntMacro(module, MOST_STRIPS) < 0) {
        return -1;
    }
    return add_window(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "lsst.bgqa._compiled",
    .m_doc = "The innermost loops of bgqa.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__compiled(void)
{
    return PyModuleDef_Init(&definition);
}
