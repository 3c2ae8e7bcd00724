#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| messenger_core::encryption::fuzzing::open(input));
