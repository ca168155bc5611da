# cython: language_level=3, binding=False, embedsignature=True, freethreading_compatible=True
# distutils: language=c++
"""The door: arrays become pointers, the GIL is dropped, the program runs. Checks of what a user wrote live above."""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer)
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset, strlen
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr
from libcpp.string cimport string
from libcpp.vector cimport vector

from thalweg._core cimport *

ACTIVATIONS = {name.decode(): i for i, name in enumerate(activation_list())}
KEEPS_INPUT = frozenset(name for name, i in ACTIVATIONS.items() if keeps_input(<Activation><int>i))
LOSSES = {name.decode(): i for i, name in enumerate(loss_list())}
RULES = {name.decode(): i for i, name in enumerate(rule_list())}
KINDS = {name.decode(): i for i, name in enumerate(layer_list())}
PADDING = padding
TARGETS = {"": <int>Targets.none, "values": <int>Targets.values, "labels": <int>Targets.labels}
MARKS = {"begin": <int>begin, "forwarded": <int>forwarded, "measured": <int>measured,
         "differentiated": <int>differentiated, "committed": <int>committed, "recorded": <int>recorded,
         "updated": <int>updated}
STATUSES = {<int>Status.done: "done", <int>Status.not_finite: "not_finite", <int>Status.stopped: "stopped"}
DTYPES = {"f": <int>DType.f32, "d": <int>DType.f64}
cdef dict SOURCE_TYPES = {
    "f": <int>SourceType.f32, "d": <int>SourceType.f64, "?": <int>SourceType.u8,
    "b": <int>SourceType.i8, "B": <int>SourceType.u8, "h": <int>SourceType.i16, "H": <int>SourceType.u16,
    "i": <int>SourceType.i32, "I": <int>SourceType.u32, "l": <int>SourceType.i64, "L": <int>SourceType.u64,
    "q": <int>SourceType.i64, "Q": <int>SourceType.u64}


cdef class Block:
    """Zeroed bytes, 64-byte aligned, that export the buffer protocol."""

    cdef unique_ptr[Arena] arena
    cdef Py_ssize_t shape[1]
    cdef Py_ssize_t strides[1]

    def __cinit__(self, int64_t size):
        self.arena.reset(new Arena(size))
        self.shape[0] = size
        self.strides[0] = 1

    def __getbuffer__(self, Py_buffer* view, int flags):
        fill(view, flags, self, self.arena.get().data(), 1, b"B", 1, self.shape, self.strides)


cdef class View:
    """A buffer of a program's arena, (rows, columns), that keeps the program alive."""

    cdef Program program
    cdef char* data
    cdef Py_ssize_t shape[2]
    cdef Py_ssize_t strides[2]

    def __getbuffer__(self, Py_buffer* view, int flags):
        fill(view, flags, self, self.data, self.strides[1], self.program.plan.code, 2, self.shape, self.strides)

    cdef void copy_to(self, char* memory) noexcept:
        """Copy without pads."""
        cdef Py_ssize_t row = self.shape[1] * self.strides[1]
        copy_rows(memory, row, self.data, self.strides[0], self.shape[0], row)


cdef void fill(Py_buffer* view, int flags, object owner, char* data, Py_ssize_t item, const char* code, int ndim,
               Py_ssize_t* shape, Py_ssize_t* strides):
    view.buf = data
    view.obj = owner
    view.itemsize = item
    view.len = item * shape[0] * (shape[1] if ndim == 2 else 1)
    view.readonly = 0
    view.format = <char*>code if flags & PyBUF_FORMAT else NULL
    view.ndim = ndim
    view.shape = shape
    view.strides = strides
    view.suboffsets = NULL
    view.internal = NULL


cdef class Source:
    """A user's array, held while a program reads it: one or two axes, any strides, any real dtype."""

    cdef Py_buffer view
    cdef Array array

    def __cinit__(self, array):
        PyObject_GetBuffer(array, &self.view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        self.array.data = self.view.buf
        cdef Py_UCS4 code = self.view.format[strlen(self.view.format) - 1]  # NumPy marks unaligned data with '=' before it
        self.array.type = <SourceType><int>SOURCE_TYPES[code]
        self.array.row_stride = self.view.strides[0] if self.view.ndim else 0
        self.array.column_stride = self.view.strides[1] if self.view.ndim == 2 else self.view.itemsize

    def __dealloc__(self):
        PyBuffer_Release(&self.view)

    @property
    def rows(self):
        return self.view.shape[0]

    cpdef cbool is_readable_in_place(self, Py_UCS4 code):
        """Whether kernels that compute in a dtype can read the rows as they lie."""
        cdef Py_ssize_t item = self.view.itemsize
        cdef cbool ours = self.view.format[0] == code and not self.view.format[1]  # which is also that of aligned data
        return ours and (self.view.shape[1] == 1 or self.view.strides[1] == item) and self.view.strides[0] % item == 0


def hold_rows(x, int64_t columns):
    """Hold what is an array of so many columns at first sight; return None for what needs a closer look."""
    try:
        source = Source(x)
    except (BufferError, KeyError, TypeError, ValueError):  # nothing to hold, or no such dtype
        return None
    cdef size_t letters = strlen(source.view.format)  # one of this machine's dtypes, behind '=' if unaligned
    cdef cbool native = letters == 1 or (letters == 2 and source.view.format[0] == b"=")
    return source if native and source.view.ndim == 2 and source.view.shape[1] == columns and source.view.shape[0] else None


cdef Spec spec_of(shape):
    """The spec of a thalweg.programs.Shape, a description of a model."""
    cdef Spec spec
    cdef LayerSpec it
    spec.dtype = <DType><int>DTYPES[shape.code]
    spec.inputs, spec.standardize = shape.inputs, shape.standardize
    for layer in shape.layers:
        it.kind, it.activation = <LayerKind><int>KINDS[layer.kind], <Activation><int>ACTIVATIONS[layer.activation]
        it.units, it.input, it.other, it.bias = layer.units, layer.input, layer.other, layer.bias
        it.frozen, it.number, it.momentum = layer.frozen, layer.number, layer.momentum
        it.weight.l1, it.weight.l2, it.weight.decay = layer.l1, layer.l2, layer.decay_weight
        it.offset.l1, it.offset.l2, it.offset.decay = 0, 0, layer.decay_bias
        spec.layers.push_back(it)
    return spec


def parameter_layout(shape):
    """Where parameters lie in their block, in elements: (offset, inputs, outputs, leading dimension, bias, layer)."""
    return [(p.offset, p.inputs, p.outputs, p.ld, p.bias, p.layer) for p in plan_parameters(spec_of(shape))]


def statistics_layout(shape):
    """Where statistics lie in their block, in elements: (offset, units, leading dimension, layer)."""
    return [(s.offset, s.units, s.ld, s.layer) for s in plan_statistics(spec_of(shape))]


cdef class Plan:
    """A plan made from a spec's flat numbers; see csrc/program/plan.hpp."""

    cdef CPlan plan
    cdef const KernelTable* table
    cdef bytes code

    def __cinit__(self, shape, *, str isa, int64_t batch, str loss="", str targets="", double smoothing=0, cbool weighted=False,
                  str rule="", cbool regulated=False, cbool averaged=False, cbool backward=False, cbool fused=False,
                  cbool input_gradient=False, cbool in_place=False, int64_t flat=0, int threads=1,
                  cbool exactly=False, double barrier_ns=50, int64_t block=1, cbool many_steps=False):
        cdef Spec spec = spec_of(shape)
        cdef Machine machine
        spec.batch, spec.flat, spec.weighted, spec.backward, spec.fused = batch, flat, weighted, backward, fused
        spec.input_gradient, spec.in_place, spec.block, spec.many_steps = input_gradient, in_place, block, many_steps
        spec.loss, spec.targets = <Loss><int>LOSSES[loss], <Targets><int>TARGETS[targets]
        spec.smoothing, spec.rule = smoothing, <Rule><int>RULES[rule]
        spec.regulated, spec.averaged = regulated, averaged
        machine.threads, machine.exactly, machine.barrier_ns = threads, exactly, barrier_ns
        self.code = shape.code.encode()
        self.table = &select_table(isa.encode(), spec.dtype)
        self.plan = make_plan(spec, machine, self.table.lanes)

    @property
    def fused(self):
        return self.plan.spec.fused

    @property
    def own_columns(self):
        return self.plan.own_columns

    @property
    def regulated(self):
        return self.plan.spec.regulated

    @property
    def layers(self):
        return self.plan.spec.layers.size()

    @property
    def threads(self):
        return self.plan.threads

    @property
    def schedule(self):
        return self.plan.schedule.decode()

    def describe(self):
        return self.plan.describe().decode()


cdef void* address(object block, Py_ssize_t at_least, cbool writable=True) except? NULL:
    """The memory of a contiguous block, which the caller keeps alive."""
    cdef Py_buffer view
    if block is None:
        return NULL
    PyObject_GetBuffer(block, &view, PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writable else 0))
    cdef void* data = view.buf
    cdef Py_ssize_t size = view.len
    PyBuffer_Release(&view)
    if size < at_least:
        raise ValueError(f"a block of {size} bytes where {at_least} are needed")
    return data


cdef cbool ask_python(void* program) noexcept with gil:
    try:
        PyErr_CheckSignals()
        asked = (<Program>program).asked
        return asked is not None and asked()
    except BaseException as error:
        (<Program>program).interruption = error
        return True


cdef class Program:
    """A plan with memory. Runs without the GIL; one run at a time."""

    cdef readonly Plan plan
    cdef unique_ptr[CProgram] program
    cdef object storage
    cdef object interruption
    cdef public object asked  # called now and then in a long step: whether to stop it

    def __cinit__(self, Plan plan, parameters=None, gradients=None, slots=(), statistics=None,
                  loss_parameter=None):
        cdef Storage storage
        cdef Py_ssize_t item = 4 if plan.code == b"f" else 8
        cdef int64_t outputs = plan.plan.spec.inputs
        cdef Py_ssize_t need = 0, need_statistics = 0
        if plan.plan.spec.layers.size():
            outputs = plan.plan.spec.layers.back().units
        for p in plan.plan.parameters:
            need = (p.offset + p.rows() * p.ld) * item
        storage.parameters = address(parameters, need)
        storage.gradients = address(gradients, need, plan.plan.spec.flat == 0)
        for s in plan.plan.statistics:
            need_statistics = (s.offset + 2 * s.ld) * 8
        storage.statistics = address(statistics, need_statistics)
        storage.loss_parameter = address(loss_parameter, PADDING * ((outputs + PADDING - 1) // PADDING) * item, False)
        for i in range(4):
            storage.slots[i] = address(slots[i], need) if i < len(slots) else NULL
        self.plan = plan
        self.storage = (parameters, gradients, slots, statistics, loss_parameter)
        self.program.reset(new CProgram(plan.plan, plan.table[0], storage))

    def run(self, Source x=None, Source y=None, Source weight=None, const int64_t[::1] order=None, int64_t first=0,
            int64_t steps=1, int64_t passes=1, const double[:, ::1] scalars=None, double[:, ::1] tally=None,
            uint64_t seed=0, int64_t step=0, int64_t rows_before=0, str since="begin", str until="updated"):
        """Run `steps` rounds between two marks, `passes` times. Returns (whole rounds done, how it ended)."""
        cdef Slice part
        cdef Outcome outcome
        cdef int from_mark = MARKS[since], to_mark = MARKS[until]
        memset(&part, 0, sizeof(part))
        if x is not None:
            part.x = x.array
        if y is not None:
            part.y = y.array
        if weight is not None:
            part.weight = weight.array
        part.first, part.steps, part.passes = first, steps, passes
        part.seed, part.step, part.rows_before = seed, step, rows_before
        if order is not None:
            part.order = &order[0]
        if scalars is not None:
            part.scalars, part.scalars_per_step = &scalars[0, 0], scalars.shape[1]
        if tally is not None:
            part.tally = <Tally*>&tally[0, 0]
        outcome = self.execute(part, <Mark>from_mark, <Mark>to_mark)
        return outcome.steps, STATUSES[<int>outcome.status]

    cdef Outcome execute(self, Slice part, Mark since, Mark until) except *:
        cdef Outcome outcome
        if self.plan.plan.long_step:
            part.interrupted = ask_python
        part.asker = <void*>self
        with nogil:
            outcome = self.program.get().run(part, since, until)
        if outcome.status == Status.no_threads:
            raise RuntimeError("the system did not give the number of threads asked for; set a smaller num_threads")
        if self.interruption is not None:
            error, self.interruption = self.interruption, None
            raise error
        return outcome

    def gradient_squares(self):
        """The sum of squares of all gradients in the storage, in float64."""
        return self.program.get().gradient_squares()

    def buffer(self, str name):
        """A buffer of the arena by its name in the plan, as an object with the buffer protocol, or None."""
        cdef int index = self.plan.plan.find(name.encode())
        cdef View view
        if index < 0 or not self.plan.plan.buffers[index].in_arena:
            return None
        if self.plan.plan.buffers[index].lies_apart():
            raise ValueError(f"{name} lies apart, in as many places as there are threads")
        cdef Py_ssize_t item = 4 if self.plan.code == b"f" else 8
        view = View.__new__(View)
        view.program, view.data = self, self.program.get().data(index, 0)
        view.shape[0], view.shape[1] = self.plan.plan.buffers[index].rows, self.plan.plan.buffers[index].columns
        view.strides[0], view.strides[1] = self.plan.plan.buffers[index].ld * item, item
        return view


cdef class Forward:
    """Programs that predict, kept by rows. Each call takes idle ones, so that several threads may call at once."""

    cdef object make  # (rows, whether in place) -> View of what a new program puts out
    cdef int64_t block
    cdef Py_UCS4 code
    cdef dict kept

    def __cinit__(self, make, Py_UCS4 code, int64_t block):
        self.make, self.code, self.block, self.kept = make, code, block, {}

    def run(self, Source x, int64_t first, outputs):
        """Predict a block of rows from `first` on into their place in a C-contiguous array. Returns how many they are."""
        cdef Slice part
        cdef View view
        cdef int64_t rows = min(self.block, x.view.shape[0] - first)
        cdef cbool in_place = x.is_readable_in_place(self.code)
        idle = self.idle(rows, in_place)
        try:
            view = idle.pop()
        except IndexError:
            view = self.make(rows, in_place)
        memset(&part, 0, sizeof(part))
        part.x, part.first, part.steps, part.passes = x.array, first, 1, 1
        view.program.execute(part, begin, forwarded)
        view.copy_to(<char*>address(outputs, 0) + first * view.shape[1] * view.strides[1])
        idle.append(view)
        return rows

    cdef list idle(self, int64_t rows, cbool in_place):
        """Idle programs of a kind. Where there are too many kinds, all are forgotten."""
        key = 2 * rows + in_place
        idle = self.kept.get(key)
        if idle is None:
            if len(self.kept) == 16:
                self.kept = {}
            idle = self.kept[key] = []
        return idle


def supported_isas():
    """Names of the ISAs that this build and this CPU have, best first."""
    return [name.decode() for name in c_supported_isas()]


def shuffle(int64_t[::1] order, uint64_t seed, uint64_t stream, count=None, isa=None):
    """Fill `order` with the permutation of (seed, stream), or at least its first `count` places; return how many."""
    cdef const KernelTable* table = &select_table((isa or supported_isas()[0]).encode(), DType.f64)
    cdef DrawOrder draw
    cdef int64_t drawn
    draw.order, draw.rows, draw.key = &order[0], order.shape[0], random_key(seed, stream)
    draw.count = draw.rows if count is None else count
    with nogil:
        drawn = table.draw_order(draw)
    return drawn


def thread_limit():
    """The most threads that OpenMP gives; 1 in a build without OpenMP."""
    return c_thread_limit()


def measure_barrier():
    """Nanoseconds of a barrier between two threads."""
    cdef double nanoseconds
    with nogil:
        nanoseconds = c_measure_barrier()
    return nanoseconds


def release_threads():
    """Give back this thread's pool of workers, which would spin on for milliseconds."""
    with nogil:
        c_release_threads()


release_threads_before_forks()
