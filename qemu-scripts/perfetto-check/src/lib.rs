//! Nothing but its test: `perfetto_protos`, which takes a minute to compile, reads what the trace tool writes.
