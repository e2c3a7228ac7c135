pub(crate) const ALL: &[crate::Scenario] = &[];
