//! The part of a conversation that a model is shown (contract, C7).

#[cfg(test)]
mod tests;
mod units;

use serde::{Deserialize, Serialize};

use self::units::Units;
use super::{Role, StoredMessage};

/// How much of a conversation fits a model's context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Window {
    /// The most messages; none for no limit.
    pub max_messages: Option<u64>,
    /// The most tokens; none for no limit.
    pub max_tokens: Option<u64>,
    /// Whether system messages are shown; default true. The newest of them come before any history.
    pub include_system: bool,
    /// Whether the first message after the system messages is a user's; default false. What would
    /// come before it is left out.
    pub start_on_user: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self { max_messages: None, max_tokens: None, include_system: true, start_on_user: false }
    }
}

impl Window {
    /// Cuts the window out of `messages`, which ascend by `seq`; `tokens` counts a message in the
    /// form in which the model sees it.
    ///
    /// The unit of a window is a message, or an assistant's message with tool calls together with
    /// all their results, wherever these come after it. A result without its call and a call without
    /// all of its results are left out, save a call that is the newest message. A unit that alone is
    /// over the budget is left out and takes the place of no other.
    ///
    /// Within the budget come first the newest unit and the user's message before it (the newest
    /// exchange), then the newest system messages, then the rest from new to old until one does not
    /// fit. The first calls of an exchange that are taken bring its user message along if that fits.
    pub fn cut<'a>(
        &self,
        messages: &'a [StoredMessage],
        tokens: impl Fn(&StoredMessage) -> u64,
    ) -> Vec<&'a StoredMessage> {
        self.plan(messages, tokens).shown().into_iter().map(|at| &messages[at]).collect()
    }

    /// Chooses the units that the window shows, and says what a longer view could add.
    pub(crate) fn plan<'a>(
        &self,
        messages: &'a [StoredMessage],
        tokens: impl Fn(&StoredMessage) -> u64,
    ) -> Plan<'a> {
        let units = Units::of(messages, self.include_system);
        let cost = |members: &[usize]| {
            members.iter().map(|&at| tokens(&messages[at])).fold(0, u64::saturating_add)
        };
        let mut plan = Plan {
            budget: Budget {
                messages: self.max_messages.unwrap_or(u64::MAX),
                tokens: self.max_tokens.unwrap_or(u64::MAX),
            },
            costs: vec![None; units.len()],
            taken: Vec::new(),
            is_taken: vec![false; units.len()],
            start_on_user: self.start_on_user,
            needs_older: false,
            needs_request: false,
            units,
        };
        let whole = plan.budget;
        // The newest exchange.
        let newest = plan.units.newest_first().find(|&unit| {
            let fits = !plan.units.is_system(unit) && plan.units.is_complete(unit);
            fits && whole.holds(plan.price(unit, &cost))
        });
        plan.needs_older = newest.is_none_or(|newest| plan.units.has_orphan_after(newest));
        if let Some(newest) = newest {
            plan.take(newest, &cost);
            plan.take_request_of(newest, &cost);
        }
        // The newest system messages; a long one does not hide those before it.
        for unit in (0..plan.units.len()).rev() {
            if plan.budget.messages == 0 {
                break;
            }
            if plan.units.is_system(unit) {
                plan.take(unit, &cost);
            }
        }
        // History, from new to old.
        let mut stopped = plan.budget.messages == 0 || plan.budget.tokens == 0;
        let mut served = None;
        for unit in (0..plan.units.len()).rev() {
            if stopped {
                break;
            }
            let skipped = plan.is_taken[unit]
                || plan.units.is_system(unit)
                || !plan.units.is_complete(unit)
                || !whole.holds(plan.price(unit, &cost));
            if skipped {
                continue;
            }
            stopped = !plan.take(unit, &cost);
            if !stopped && plan.units.is_call(unit) {
                let request = plan.units.request(unit);
                if served != Some(request) {
                    served = Some(request);
                    plan.take_request_of(unit, &cost);
                }
            }
        }
        plan.needs_older |= !stopped && plan.budget.messages > 0 && plan.budget.tokens > 0;
        plan
    }
}

/// Messages and tokens, as a price or as what is left to spend.
#[derive(Debug, Clone, Copy)]
struct Budget {
    messages: u64,
    tokens: u64,
}

impl Budget {
    const fn holds(self, price: Self) -> bool {
        price.messages <= self.messages && price.tokens <= self.tokens
    }
}

/// The units that a window shows.
pub(crate) struct Plan<'a> {
    units: Units<'a>,
    /// The tokens of each unit, once counted.
    costs: Vec<Option<u64>>,
    /// What is left.
    budget: Budget,
    /// The units taken, the most important first.
    taken: Vec<usize>,
    is_taken: Vec<bool>,
    start_on_user: bool,
    /// Whether older messages than those given could be shown: some budget is left, or the newest
    /// exchange is not among them.
    pub(crate) needs_older: bool,
    /// Whether the user's message that a shown unit serves is not among those given.
    pub(crate) needs_request: bool,
}

impl Plan<'_> {
    fn price(&mut self, unit: usize, cost: &impl Fn(&[usize]) -> u64) -> Budget {
        let members = self.units.members(unit);
        let tokens = *self.costs[unit].get_or_insert_with(|| cost(members));
        Budget { messages: members.len() as u64, tokens }
    }

    /// Takes a unit if it fits, and says whether it did.
    fn take(&mut self, unit: usize, cost: &impl Fn(&[usize]) -> u64) -> bool {
        let price = self.price(unit, cost);
        let fits = !self.is_taken[unit] && self.budget.holds(price);
        if fits {
            self.budget.messages -= price.messages;
            self.budget.tokens -= price.tokens;
            self.is_taken[unit] = true;
            self.taken.push(unit);
        }
        fits
    }

    fn take_request_of(&mut self, unit: usize, cost: &impl Fn(&[usize]) -> u64) {
        match self.units.request(unit) {
            Some(request) => {
                // A user's message with calls of its own may lack their results.
                if self.units.is_complete(request) {
                    self.take(request, cost);
                }
            }
            None => self.needs_request |= self.budget.messages > 0 && self.budget.tokens > 0,
        }
    }

    /// Drops the least important unit and returns its tokens; none where nothing is left.
    pub(crate) fn drop_last(&mut self) -> Option<u64> {
        self.taken.pop().map(|unit| self.costs[unit].unwrap_or_default())
    }

    /// The indices of the messages shown, ascending.
    pub(crate) fn shown(&self) -> Vec<usize> {
        let first = |unit: usize| self.units.members(unit).first().copied();
        let is_user = |unit: &usize| self.units.role(*unit) == Role::User;
        let start = if self.start_on_user {
            self.taken.iter().copied().filter(is_user).filter_map(first).min()
        } else {
            Some(0)
        };
        let mut shown: Vec<usize> = self
            .taken
            .iter()
            .filter(|&&unit| {
                self.units.is_system(unit) || start.is_some_and(|start| first(unit) >= Some(start))
            })
            .flat_map(|&unit| self.units.members(unit).iter().copied())
            .collect();
        shown.sort_unstable();
        shown
    }

    /// Whether the newest message that the window could show is left out.
    pub(crate) fn omits_newest(&self, shown: &[usize]) -> bool {
        self.units.newest().is_some_and(|newest| shown.last() < Some(&newest))
    }
}
