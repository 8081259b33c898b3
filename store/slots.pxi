# Slots of Python objects, read and set where they stand (included by what is compiled).

from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject

from types import MemberDescriptorType

cdef extern from "Python.h":
    ctypedef struct PyMemberDef:
        Py_ssize_t offset
        int flags
        int type
    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member

cdef extern from "structmember.h":
    int T_OBJECT_EX


cdef Py_ssize_t place_of(kind, name) except -1:
    """Where in an object of a class its slot ``name`` stands: what the interpreter looks up at every access."""
    descriptor = kind.__dict__[name]
    if type(descriptor) is not MemberDescriptorType:
        raise TypeError(f"{kind.__name__}.{name} is no slot")
    cdef PyMemberDef* member = (<PyMemberDescrObject*>descriptor).d_member
    if member.type != T_OBJECT_EX or member.flags:
        raise TypeError(f"{kind.__name__}.{name} is no plain slot")
    return member.offset


cdef inline object slot(object owner, Py_ssize_t place):
    """The value of a slot.  Every slot read here is set when its object is made and never deleted."""
    return <object>(<PyObject**>(<char*><PyObject*>owner + place))[0]


cdef inline void set_slot(object owner, Py_ssize_t place, object value) noexcept:
    """Set a slot."""
    cdef PyObject** cell = <PyObject**>(<char*><PyObject*>owner + place)
    cdef PyObject* old = cell[0]
    Py_INCREF(value)
    cell[0] = <PyObject*>value
    Py_DECREF(<object>old)
