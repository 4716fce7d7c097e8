#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| corten_fuzz::run("cache", data));
