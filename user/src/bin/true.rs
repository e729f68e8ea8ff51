//! Does nothing, successfully: the program that the storms execute.
#![no_std]
#![no_main]

user::main!(main);

fn main(_env: &user::Env) -> i32 {
    0
}
