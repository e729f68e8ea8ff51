//! Stand-in until the real one is merged.
/// Stand-in.
#[repr(C)]
#[derive(Debug)]
pub struct PerCpu {
    /// Hardware id.
    pub server: u32,
    /// Stack.
    pub kernel_stack_top: u64,
}
/// Boot CPU.
pub static BOOT_PERCPU: PerCpu = PerCpu {
    server: 0,
    kernel_stack_top: 0,
};
