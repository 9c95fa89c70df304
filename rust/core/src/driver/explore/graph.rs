//! The graph of states as far as a search keeps it: who led to whom.

use super::Choice;

/// The state that the search started from.
pub const START: u32 = 0;

/// States by number, in the order in which they were met, and the transitions between them.
#[derive(Debug, Default)]
pub struct Graph {
    /// Of each state but the first: from where it was met first, and by which choice.
    parents: Vec<(u32, Choice)>,
    /// The states that each transition leads to, in the order of the states that they start from.
    targets: Vec<u32>,
    /// Where the transitions of each expanded state begin.
    begins: Vec<u32>,
    /// States that are ends as they should be.
    clean: Vec<u32>,
    keep: bool,
}

impl Graph {
    /// An empty graph; it keeps all transitions if `keep`, else only how each state was met first.
    pub fn new(keep: bool) -> Self {
        Self { keep, ..Self::default() }
    }

    /// Bytes that it takes.
    pub fn memory(&self) -> usize {
        self.parents.capacity() * size_of::<(u32, Choice)>()
            + (self.targets.capacity() + self.begins.capacity() + self.clean.capacity()) * size_of::<u32>()
    }

    /// Notes how a new state was met.
    pub fn met(&mut self, from: u32, by: Choice) {
        self.parents.push((from, by));
    }

    /// The transitions of the next state begin.
    pub fn expand(&mut self) {
        if self.keep {
            self.begins.push(u32::try_from(self.targets.len()).expect("fewer than 2^32 transitions"));
        }
    }

    /// A transition of the state being expanded leads to `to`.
    pub fn leads_to(&mut self, to: u32) {
        if self.keep {
            self.targets.push(to);
        }
    }

    /// The state is an end as it should be.
    pub fn is_clean(&mut self, state: u32) {
        if self.keep {
            self.clean.push(state);
        }
    }

    /// The choices that led to `state` first, from the start.
    pub fn way_to(&self, state: u32) -> Vec<Choice> {
        let mut way: Vec<Choice> = Vec::new();
        let mut at = state;
        while at != START {
            let (from, by) = self.parents[at as usize - 1];
            way.push(by);
            at = from;
        }
        way.reverse();
        way
    }

    /// The first state from which no clean end can be reached, if there is one: of a graph whose states have all been
    /// expanded.
    pub fn dead_end(&self) -> Option<u32> {
        let states = self.begins.len();
        let (starts, sources) = self.reversed();
        let mut reaches = vec![false; states];
        let mut todo = self.clean.clone();
        while let Some(state) = todo.pop() {
            if !std::mem::replace(&mut reaches[state as usize], true) {
                let (from, to) = (starts[state as usize] as usize, starts[state as usize + 1] as usize);
                todo.extend(sources[from..to].iter().filter(|&&source| !reaches[source as usize]));
            }
        }
        reaches.iter().position(|&reaches| !reaches).map(|state| state as u32)
    }

    /// The transitions by the states that they lead to: where each state's begin, and where they come from.
    fn reversed(&self) -> (Vec<u32>, Vec<u32>) {
        let states = self.begins.len();
        let mut starts = vec![0u32; states + 2];
        self.targets.iter().for_each(|&to| starts[to as usize + 2] += 1);
        (1..states + 2).for_each(|i| starts[i] += starts[i - 1]);
        let mut sources = vec![0; self.targets.len()];
        for from in 0..states {
            let end = self.begins.get(from + 1).map_or(self.targets.len(), |&end| end as usize);
            for &to in &self.targets[self.begins[from] as usize..end] {
                let at = &mut starts[to as usize + 1];
                sources[*at as usize] = from as u32;
                *at += 1;
            }
        }
        starts.truncate(states + 1);
        (starts, sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_without_a_way_to_a_clean_end_is_found() {
        let mut graph = Graph::new(true);
        let step = Choice::step(0);
        // 0 -> 1, 2; 1 -> 3 (clean); 2 -> 4 -> 2
        for (from, targets) in [(0, vec![1, 2]), (1, vec![3]), (2, vec![4]), (3, vec![]), (4, vec![2])] {
            graph.expand();
            targets.iter().for_each(|&to| graph.leads_to(to));
            if from < 4 {
                graph.met([0, 0, 1, 2][from], step);
            }
        }
        graph.is_clean(3);
        assert_eq!(graph.dead_end(), Some(2));
        assert_eq!(graph.way_to(4).len(), 2);
        graph.is_clean(4);
        assert_eq!(graph.dead_end(), None);
    }
}
