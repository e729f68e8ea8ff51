"""Linux's behaviour for the steps of a sequence: the model that the kernel is compared with.

A page of memory is a list of its used words (`CELLS` of them), each a number that some step
stored, 0 at first. A file and shared memory keep their pages in an `Object`. A page of a
process is a `Mapping`: the object, the permissions, and for private memory the process's own
copy once there is one. Forks and copies on write are plain copies here: the kernel shares
pages, and must get that right.
"""

import copy
import dataclasses

PAGE = 4096
PAGES = 3                    # of the window that steps work on, and of the file at most
CELLS = 2                    # words of a page that are used
CELL_BYTES = PAGE // CELLS   # from one to the next
WORD = 8
PROCESSES = 3

READ, WRITE, EXEC = 1, 2, 4
EPERM, ENOMEM, EACCES, EFAULT = 1, 12, 13, 14

# The results of a step, with the numbers of `seen.rs` of the program: a value, or one of these.
ERRNO, SEGV, BUS, ILL = 0x100, 0x200, 0x300, 0x400
END_OF_FILE = 0xa00
MAPERR, ACCERR, ADRERR = SEGV | 1, SEGV | 2, BUS | 2


class Impossible(Exception):
    """A step that is impossible in its place: its process does not live, for example."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One step: an operation of one thread of one process."""

    op: str
    process: int
    thread: int = 0
    page: int = 0
    count: int = 0           # of pages; or which word of the page
    value: int = 0
    kind: str = ""           # the kind of mapping
    offset: int = 0          # the page of the file that is mapped
    populate: bool = False


class Object:
    """Pages that several mappings show."""

    def __init__(self, size):
        self.size = size     # in bytes
        self.pages = [[0] * CELLS for _ in range(PAGES)]

    def has(self, page):
        """Whether the page exists, and is not wholly behind the end."""
        return page * PAGE < self.size


@dataclasses.dataclass
class Mapping:
    """One page of a process."""

    object: Object           # None: private zeroes
    number: int              # which of the object's pages
    shared: bool
    may_write: bool          # false if stores would reach a file that is open for reading only
    prot: int
    copy: list = None        # of private memory, once it differs from the object

    def words(self):
        """The words that a load sees; None if there are none."""
        if self.copy is not None:
            return self.copy
        if self.object is None:
            return [0] * CELLS
        return self.object.pages[self.number] if self.object.has(self.number) else None

    def words_to_change(self):
        """The words that a store changes."""
        words = self.words()
        if words is not None and not self.shared:
            words = self.copy = list(words)
        return words


class Model:
    """The machine's memory, in the processes' view."""

    def __init__(self, file_size):
        self.file = Object(file_size)
        self.spaces = {0: [None] * PAGES}      # of living processes
        self.parents = {0: 0}

    def apply(self, step):
        """Does a step and returns its result. `Impossible` if it cannot stand here."""
        if step.process not in self.spaces:
            raise Impossible
        return getattr(self, "do_" + step.op)(step, self.spaces[step.process])

    def children(self, process):
        """The living children of a process."""
        return [child for child in self.spaces if child != process and self.parents[child] == process]

    # --- accesses ---

    def allowed(self, mapping, needs):
        """The fault of an access that needs one of these permissions; None if it is allowed."""
        if mapping is None:
            return MAPERR
        if not mapping.prot & needs:
            return ACCERR
        return ADRERR if mapping.words() is None else None

    def do_load(self, step, space):
        mapping = space[step.page]
        return self.allowed(mapping, READ | WRITE) or mapping.words()[step.count]

    def do_store(self, step, space):
        mapping = space[step.page]
        wrong = self.allowed(mapping, WRITE)
        if wrong:
            return wrong
        # The fate of such a word when the file grows differs between file systems.
        if mapping.object is self.file and mapping.shared and self.offset(mapping.number, step.count) >= self.file.size:
            raise Impossible
        mapping.words_to_change()[step.count] = step.value
        return 0

    def do_call(self, step, space):
        mapping = space[step.page]
        return self.allowed(mapping, EXEC) or mapping.words()[step.count] or ILL

    def do_kernel_load(self, step, space):
        seen = self.do_load(step, space)
        return ERRNO | EFAULT if seen >= ERRNO else seen

    def do_kernel_store(self, step, space):
        return self.do_store(step, space) and ERRNO | EFAULT

    # --- mappings ---

    def do_map(self, step, space):
        shared, read_only = step.kind.startswith("shared"), step.kind.endswith("read-only file")
        of_file = step.kind.endswith("file")
        if shared and read_only and step.value & WRITE:
            return ERRNO | EACCES
        if of_file and step.offset + step.count > PAGES:
            raise Impossible
        backing = self.file if of_file else Object(step.count * PAGE) if shared else None
        first = step.offset if of_file else 0
        for at, page in enumerate(self.range(step)):
            space[page] = Mapping(backing, first + at, shared, not (shared and read_only), step.value)
            # As if each had been stored to, where stores to private pages are allowed.
            if step.populate and not shared and step.value & WRITE:
                space[page].words_to_change()
        return 0

    def do_unmap(self, step, space):
        for page in self.range(step):
            space[page] = None
        return 0

    def do_protect(self, step, space):
        # The pages before the page that is refused are changed.
        for page in self.range(step):
            if space[page] is None:
                return ERRNO | ENOMEM
            if step.value & WRITE and not space[page].may_write:
                return ERRNO | EACCES
            space[page].prot = step.value
        return 0

    def do_discard(self, step, space):
        mapped = [space[page] for page in self.range(step) if space[page] is not None]
        for mapping in mapped:
            mapping.copy = None
        return 0 if len(mapped) == step.count else ERRNO | ENOMEM

    def range(self, step):
        """The pages of a step."""
        if not 0 < step.count <= PAGES - step.page:
            raise Impossible
        return range(step.page, step.page + step.count)

    # --- the file ---

    @staticmethod
    def offset(page, cell):
        """The place of a page's word in the file."""
        return page * PAGE + cell * CELL_BYTES

    def do_truncate(self, step, _):
        self.file.size = step.value
        for number, words in enumerate(self.file.pages):
            for cell in range(CELLS):
                if self.offset(number, cell) >= step.value:
                    words[cell] = 0
        # Pages wholly behind the end are taken from all processes that map them, copies and all.
        for space in self.spaces.values():
            for mapping in filter(None, space):
                if mapping.object is self.file and not self.file.has(mapping.number):
                    mapping.copy = None
        return 0

    def do_read_file(self, step, _):
        at = self.offset(step.page, step.count)
        return self.file.pages[step.page][step.count] if at < self.file.size else END_OF_FILE

    def do_write_file(self, step, _):
        self.file.size = max(self.file.size, self.offset(step.page, step.count) + WORD)
        self.file.pages[step.page][step.count] = step.value
        return 0

    # --- processes ---

    def do_fork(self, step, space):
        child = step.page
        if child in self.parents or child >= PROCESSES:
            raise Impossible
        self.parents[child] = step.process
        self.spaces[child] = [self.copy_of(mapping) for mapping in space]
        return 0

    @staticmethod
    def copy_of(mapping):
        """The child's form of its parent's `mapping`: it shares the object."""
        return mapping and dataclasses.replace(mapping, copy=copy.copy(mapping.copy))

    def do_exec(self, step, _):
        self.spaces[step.process] = [None] * PAGES
        return 0

    def do_exit(self, step, _):
        # Its parent lives, because it waits; and it leaves no orphans.
        if step.process == 0 or self.children(step.process):
            raise Impossible
        del self.spaces[step.process]
        return 0
