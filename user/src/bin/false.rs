//! Does nothing, unsuccessfully.
#![no_std]
#![no_main]

user::main!(main);

fn main(_env: &user::Env) -> i32 {
    1
}
