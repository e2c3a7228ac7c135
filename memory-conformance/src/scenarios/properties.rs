pub(crate) fn all() -> Vec<crate::Scenario> {
    Vec::new()
}
