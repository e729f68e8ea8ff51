//! Prints its arguments.
#![no_std]
#![no_main]

use user::{Env, print, println};

user::main!(main);

fn main(env: &Env) -> i32 {
    for (index, arg) in env.args().skip(1).enumerate() {
        let space = if index == 0 { "" } else { " " };
        print!("{space}{arg}");
    }
    println!("");
    0
}
