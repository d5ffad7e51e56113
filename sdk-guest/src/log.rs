//! Macros that write to the host's log. A line has at most 1 KiB, a call at most 200 lines; never log a secret.

/// For the author: each step.
#[macro_export]
macro_rules! trace { ($($text:tt)+) => { $crate::logging::log($crate::logging::Level::Trace, &::std::format!($($text)+)) } }
/// What helps to find a fault.
#[macro_export]
macro_rules! debug { ($($text:tt)+) => { $crate::logging::log($crate::logging::Level::Debug, &::std::format!($($text)+)) } }
/// What an operator wants to know of a normal day.
#[macro_export]
macro_rules! info { ($($text:tt)+) => { $crate::logging::log($crate::logging::Level::Info, &::std::format!($($text)+)) } }
/// Worked, but somebody should look.
#[macro_export]
macro_rules! warn { ($($text:tt)+) => { $crate::logging::log($crate::logging::Level::Warn, &::std::format!($($text)+)) } }
/// Didn't work. The host logs errors that a function returns by itself.
#[macro_export]
macro_rules! error { ($($text:tt)+) => { $crate::logging::log($crate::logging::Level::Error, &::std::format!($($text)+)) } }
