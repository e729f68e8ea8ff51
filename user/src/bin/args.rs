//! Prints the kernel's data for a program: arguments, environment,
//! auxiliary vector.
#![no_std]
#![no_main]

use user::auxv::{self, AT_HWCAP, AT_PAGESZ};
use user::{Env, println};

user::main!(main);

fn main(env: &Env) -> i32 {
    for (index, arg) in env.args().enumerate() {
        println!("argv[{index}] = {arg}");
    }
    for var in env.vars() {
        println!("env {var}");
    }
    for (key, value) in env.auxv() {
        let name = auxv::name(key);
        match key {
            AT_PAGESZ => println!("auxv {key} {name} = {value}"),
            AT_HWCAP => println!("auxv {key} {name} = {value:#x}"),
            // Addresses and ids differ from run to run.
            _ => println!("auxv {key} {name}"),
        }
    }
    0
}
