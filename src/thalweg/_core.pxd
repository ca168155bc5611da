# cython: language_level=3
# What the door sees of csrc: the declarations of base, kernels/table, isa/select and program in Cython's words.

from libc.stdint cimport int64_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.string cimport string
from libcpp.vector cimport vector

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1


cdef extern from "base/arena.hpp" namespace "thalweg" nogil:
    cdef cppclass Arena:
        Arena(int64_t) except +
        char* data()
        int64_t bytes()


cdef extern from "base/copy.hpp" namespace "thalweg" nogil:
    void copy_rows(char*, int64_t, const char*, int64_t, int64_t, int64_t)


cdef extern from "base/rng.hpp" namespace "thalweg" nogil:
    uint64_t random_key(uint64_t, uint64_t)


cdef extern from "kernels/table.hpp" namespace "thalweg" nogil:
    const int64_t padding
    cdef enum class DType(int):
        f32
        f64
    cdef enum class Activation(int):
        pass
    cbool keeps_input(Activation)
    cdef enum class Loss(int):
        pass
    cdef enum class Rule(int):
        pass
    cdef enum class SourceType "thalweg::Source"(int):
        f32
        f64
        i8
        u8
        i16
        u16
        i32
        u32
        i64
        u64
    cdef struct Regulation:
        double l1, l2
        cbool decay
    cdef struct Array:
        const void* data
        SourceType type
        int64_t row_stride
        int64_t column_stride
    cdef struct DrawOrder:
        int64_t* order
        int64_t count
        int64_t rows
        uint64_t key
    cdef cppclass KernelTable:
        int64_t lanes
        int64_t draw_order(const DrawOrder&)


cdef extern from "isa/select.hpp" namespace "thalweg" nogil:
    vector[string] c_supported_isas "thalweg::supported_isas"()
    const KernelTable& select_table(const string&, DType) except +


cdef extern from "program/plan.hpp" namespace "thalweg" nogil:
    cdef enum class Targets(int):
        none
        values
        labels
    cdef enum class LayerKind(int):
        pass
    vector[string] activation_list() except +
    vector[string] loss_list() except +
    vector[string] rule_list() except +
    vector[string] layer_list() except +
    cdef cppclass LayerSpec:
        LayerKind kind
        int64_t units
        int input, other
        Activation activation
        cbool bias, frozen
        double number, momentum
        Regulation weight, offset
    cdef cppclass Spec:
        DType dtype
        int64_t batch, inputs, flat, block
        vector[LayerSpec] layers
        double smoothing
        Loss loss
        Targets targets
        Rule rule
        cbool standardize, weighted, regulated, averaged, backward, fused, input_gradient, in_place, many_steps
    cdef cppclass Machine:
        int threads
        cbool exactly
        double barrier_ns
    cdef cppclass ParameterPlan:
        int64_t offset, inputs, outputs, ld
        cbool bias
        int layer
        int64_t rows()
    cdef cppclass StatisticsPlan:
        int64_t offset, units, ld
        int layer
    cdef cppclass Buffer:
        int64_t rows, columns, ld
        cbool in_arena
        cbool lies_apart()
    cdef enum Mark:
        begin
        forwarded
        measured
        differentiated
        committed
        recorded
        updated
    cdef cppclass CPlan "thalweg::Plan":
        Spec spec
        int threads
        string schedule
        vector[ParameterPlan] parameters
        vector[StatisticsPlan] statistics
        vector[Buffer] buffers
        cbool long_step, own_columns
        int find(const string&)
        string describe() except +
    CPlan make_plan(const Spec&, const Machine&, int64_t) except +
    vector[ParameterPlan] plan_parameters(const Spec&) except +
    vector[StatisticsPlan] plan_statistics(const Spec&) except +


cdef extern from "program/program.hpp" namespace "thalweg" nogil:
    cdef struct Storage:
        void* parameters
        void* gradients
        void* statistics
        void* slots[4]
        const void* loss_parameter
    cdef struct Tally:
        pass
    cdef struct Slice:
        Array x, y, weight
        const int64_t* order
        int64_t first, steps, passes
        const double* scalars
        int64_t scalars_per_step
        uint64_t seed
        int64_t step, rows_before
        Tally* tally
        cbool (*interrupted)(void*) noexcept
        void* asker
    cdef enum class Status(int):
        done
        not_finite
        stopped
        no_threads
    cdef struct Outcome:
        int64_t steps
        Status status
    cdef cppclass CProgram "thalweg::Program":
        CProgram(const CPlan&, const KernelTable&, const Storage&) except +
        Outcome run(const Slice&, Mark, Mark) noexcept
        double gradient_squares() noexcept
        char* data(int, int)


cdef extern from "program/threads.hpp" namespace "thalweg" nogil:
    int c_thread_limit "thalweg::thread_limit"()
    double c_measure_barrier "thalweg::measure_barrier"()
    void c_release_threads "thalweg::release_threads"()
    void release_threads_before_forks()
