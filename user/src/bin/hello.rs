//! One line: the least that shows a program has run.
#![no_std]
#![no_main]

use user::{Env, println};

user::main!(main);

fn main(_env: &Env) -> i32 {
    println!("hello, world");
    0
}
