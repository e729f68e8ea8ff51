//! `exits N`: ends with status N.
#![no_std]
#![no_main]

use user::Env;

user::main!(main);

fn main(env: &Env) -> i32 {
    env.number(1, 0) as i32
}
