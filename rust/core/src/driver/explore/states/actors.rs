//! Actors by number, and under other page names.

use crate::reclaim::Actor;
use crate::snapshot::Order;
use rustc_hash::FxHashMap;

/// An actor that has been met, with its pages in the order of [`Actor::each_page`].
#[derive(Debug)]
struct Met {
    actor: Actor,
    pages: Box<[u32]>,
    /// What it last became by a step: likely what it becomes by its next.
    became: u32,
}

/// Every actor met, by number.
#[derive(Debug, Default)]
pub struct Actors {
    met: Vec<Met>,
    numbers: FxHashMap<Actor, u32>,
    /// The number of an actor under other page names, by its own number and the names.
    renamed: FxHashMap<(u32, u64), u32>,
}

impl Actors {
    pub fn len(&self) -> usize {
        self.met.len()
    }

    pub fn at(&self, number: u32) -> &Actor {
        &self.met[number as usize].actor
    }

    pub fn pages(&self, number: u32) -> &[u32] {
        &self.met[number as usize].pages
    }

    /// The number of `actor`, which was number `before` until it stepped, if that is known.
    pub fn number(&mut self, actor: &Actor, before: u32) -> u32 {
        let Some(&Met { became, .. }) = self.met.get(before as usize) else { return self.find(actor) };
        if self.at(became) == actor {
            return became;
        }
        let number = self.find(actor);
        self.met[before as usize].became = number;
        number
    }

    fn find(&mut self, actor: &Actor) -> u32 {
        if let Some(&number) = self.numbers.get(actor) {
            return number;
        }
        let (mut actor, mut pages) = (actor.clone(), Vec::new());
        actor.each_page(&mut |page| pages.push(*page));
        let number = self.met.len() as u32;
        self.numbers.insert(actor.clone(), number);
        self.met.push(Met { actor, pages: pages.into(), became: number });
        number
    }

    /// The number of actor `number` when its pages have these names, of which `permutation` is the word.
    pub fn renamed(&mut self, number: u32, names: &Order, permutation: u64) -> u32 {
        if names.changes_nothing() || self.met[number as usize].pages.is_empty() {
            return number;
        }
        if let Some(&other) = self.renamed.get(&(number, permutation)) {
            return other;
        }
        let mut actor = self.at(number).clone();
        actor.each_page(&mut |page| *page = names.name(*page));
        let other = self.find(&actor);
        self.renamed.insert((number, permutation), other);
        other
    }
}
