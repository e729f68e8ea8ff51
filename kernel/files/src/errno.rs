//! Error numbers: why the kernel refuses what a program asks for.
//!
//! Linux's numbers for powerpc. A system call returns one as a positive number in
//! r3 with CR0.SO set; inside the kernel it travels as `Err(Errno)`.

/// A Linux error number.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Errno(
    /// The number; inside the kernel there are some above Linux's.
    pub i32,
);

macro_rules! errnos {
    ($($name:ident = $number:literal, $doc:literal;)+) => {
        impl Errno {
            $(#[doc = $doc] pub const $name: Errno = Errno($number);)+

            /// The C name, for messages.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)+
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM = 1, "Not permitted.";
    ENOENT = 2, "No such file or directory.";
    ESRCH = 3, "No such process or thread.";
    EINTR = 4, "Interrupted by a signal.";
    EIO = 5, "Input or output failed.";
    ENXIO = 6, "No such device or address.";
    E2BIG = 7, "Argument list too long.";
    ENOEXEC = 8, "Not an executable that we can run.";
    EBADF = 9, "Not an open descriptor, or not open for this.";
    ECHILD = 10, "No child to wait for.";
    EAGAIN = 11, "Try again; would block.";
    ENOMEM = 12, "Out of memory or of address space.";
    EACCES = 13, "Permission denied.";
    EFAULT = 14, "Bad user address.";
    EBUSY = 16, "Busy.";
    EEXIST = 17, "Exists already.";
    EXDEV = 18, "On another file system.";
    ENODEV = 19, "No such device, or it cannot do this.";
    ENOTDIR = 20, "Not a directory.";
    EISDIR = 21, "Is a directory.";
    EINVAL = 22, "Invalid argument.";
    ENFILE = 23, "Too many open files in the system.";
    EMFILE = 24, "Too many open descriptors.";
    ENOTTY = 25, "Not a terminal, or not this kind of device.";
    ETXTBSY = 26, "Text file busy.";
    EFBIG = 27, "File too large.";
    ENOSPC = 28, "No space left.";
    ESPIPE = 29, "Not seekable.";
    EROFS = 30, "Read-only file system.";
    EMLINK = 31, "Too many links.";
    EPIPE = 32, "Nobody reads the pipe.";
    EDOM = 33, "Argument out of domain.";
    ERANGE = 34, "Result does not fit.";
    EDEADLK = 35, "Would deadlock.";
    ENAMETOOLONG = 36, "Name too long.";
    ENOLCK = 37, "No memory for a record lock.";
    ENOSYS = 38, "No such system call.";
    ENOTEMPTY = 39, "Directory not empty.";
    ELOOP = 40, "Too many symbolic links.";
    EOVERFLOW = 75, "Value does not fit the type.";
    ENOTSOCK = 88, "Not a socket.";
    EMSGSIZE = 90, "Message too long.";
    EPROTONOSUPPORT = 93, "No such protocol.";
    ESOCKTNOSUPPORT = 94, "No such type of socket.";
    EOPNOTSUPP = 95, "Operation not supported.";
    EAFNOSUPPORT = 97, "Address family not supported.";
    ENOTCONN = 107, "Not connected.";
    ETIMEDOUT = 110, "The time is over.";
    ECONNREFUSED = 111, "Nobody there.";
}

impl core::fmt::Debug for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self, f)
    }
}
