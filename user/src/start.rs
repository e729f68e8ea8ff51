//! From the kernel's stack to a program's `main`, and from its verdict to an
//! exit status.

use core::ffi::CStr;

use crate::process;
use crate::verdict::Verdict;

core::arch::global_asm!(include_str!("start.S"));

/// The kernel's data for a program: arguments, environment, auxiliary vector.
///
/// A view of the top of the stack, which lives as long as the program.
pub struct Env {
    argc: usize,
    /// `argc` pointers, a null, then the environment.
    vectors: *const *const core::ffi::c_char,
}

// SAFETY: nothing writes the vectors or the strings after start-up.
unsafe impl Sync for Env {}

impl Env {
    /// Argument `index`; 0 is the name by which the program was started.
    #[must_use]
    pub fn arg(&self, index: usize) -> Option<&'static str> {
        self.arg_bytes(index).map(text)
    }

    /// Argument `index` as exec takes it.
    #[must_use]
    pub fn arg_bytes(&self, index: usize) -> Option<&'static CStr> {
        if index >= self.argc {
            return None;
        }
        // SAFETY: below argc, each pointer is a string that the kernel placed.
        unsafe { string(*self.vectors.add(index)) }
    }

    /// The arguments, argument 0 included.
    pub fn args(&self) -> impl Iterator<Item = &'static str> + '_ {
        (0..self.argc).filter_map(|index| self.arg(index))
    }

    /// Argument `index` as a number, `default` where it is absent or no number.
    #[must_use]
    pub fn number(&self, index: usize, default: usize) -> usize {
        self.arg(index).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// The last part of the path by which the program was started.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let path = self.arg(0).unwrap_or("?");
        path.rsplit('/').next().unwrap_or(path)
    }

    /// The environment, as `NAME=value`.
    pub fn vars(&self) -> impl Iterator<Item = &'static str> + '_ {
        // SAFETY: the environment follows the arguments' null and ends in another.
        let start = unsafe { self.vectors.add(self.argc + 1) };
        // SAFETY: the walk stops at that null.
        (0..).map_while(move |index| unsafe { string(*start.add(index)) }).map(text)
    }

    /// The auxiliary vector: pairs of a key (`AT_*`) and a value.
    pub fn auxv(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        // SAFETY: the vector follows the environment's null.
        let start = unsafe { self.vectors.add(self.argc + 1 + self.vars().count() + 1) };
        let start = start.cast::<[usize; 2]>();
        (0..).map_while(move |index| {
            // SAFETY: the walk stops at the pair whose key is AT_NULL.
            let [key, value] = unsafe { *start.add(index) };
            (key != 0).then_some((key, value))
        })
    }

    /// The value of one key of the auxiliary vector.
    #[must_use]
    pub fn aux(&self, key: usize) -> Option<usize> {
        self.auxv().find(|pair| pair.0 == key).map(|pair| pair.1)
    }
}

/// The string at `pointer`, or nothing at a null.
///
/// # Safety
/// `pointer` is null or a string that lives as long as the program.
unsafe fn string(pointer: *const core::ffi::c_char) -> Option<&'static CStr> {
    // SAFETY: the caller's promise.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
}

fn text(string: &'static CStr) -> &'static str {
    string.to_str().unwrap_or("(not UTF-8)")
}

/// The result of a `main`: an exit status, or a verdict.
pub trait Termination {
    /// Prints the verdict, if it needs a line, and returns the exit status.
    fn report(self, env: &Env) -> i32;
}

impl Termination for i32 {
    fn report(self, _env: &Env) -> i32 {
        self
    }
}

impl Termination for Verdict {
    fn report(self, env: &Env) -> i32 {
        match self {
            Ok(()) => {
                println!("{}: ok", env.name());
                0
            }
            Err(why) => {
                println!("{}: FAILED: {why}", env.name());
                1
            }
        }
    }
}

unsafe extern "Rust" {
    /// The program's own, made by `main!`.
    safe fn user_main(env: &Env) -> i32;
}

/// Called by `_start` with the initial stack pointer.
#[unsafe(no_mangle)]
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the ABI: argc at the stack pointer, the vectors above it.
    let (argc, vectors) = unsafe { (*stack, stack.add(1).cast()) };
    let env = Env { argc, vectors };
    process::exit_group(user_main(&env))
}
