/// Writes text as a JSON string.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    // Text always serialises, and writing to memory never fails.
    let _ = serde_json::to_writer(out, text);
}
