//! What differs from machine to machine: registers, and the structures that calls fill in.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{
    args, call, call_again, result, set_args, set_call, set_result, stack, stat_bytes,
};
