//! How much a test that can go on for as long as one likes does: little by default, much with `STEPWELL_FAULTS=full`.

/// Whether the run is to be thorough.
pub fn full() -> bool {
    std::env::var_os("STEPWELL_FAULTS").is_some_and(|effort| effort == "full")
}

/// How often something random is tried.
pub fn rounds(short: u32, full: u32) -> u32 {
    if self::full() {
        full
    } else {
        short
    }
}
