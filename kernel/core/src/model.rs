//! The host model of a machine.
