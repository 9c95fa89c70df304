//! The compiled table: rows of each cell (event, state), and what each state demands of the flags.

use super::generated::{Event, ROWS, STATE_FLAGS, State};

/// One guarded edge, by ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Event id.
    pub event: u8,
    /// State id it leaves.
    pub from: u8,
    /// Guard bits that the row reads.
    pub require_mask: u8,
    /// Their required values.
    pub require_value: u8,
    /// State id it enters.
    pub to: u8,
}

/// Why a definition does not make a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The definition's names are not the core's, in the core's order.
    #[error("{kind} {index} is named {got:?} in the definition and {want:?} in the core")]
    Name {
        /// "state" or "event".
        kind: &'static str,
        /// Position of the first difference.
        index: usize,
        /// The definition's name ("" where it has fewer).
        got: String,
        /// The core's name ("" where it has fewer).
        want: &'static str,
    },
    /// A row names an id that does not exist.
    #[error("row {row}: event {event}, from {from} or to {to} is out of range")]
    Range {
        /// The row's position.
        row: usize,
        /// Its event id.
        event: u8,
        /// Its source id.
        from: u8,
        /// Its target id.
        to: u8,
    },
    /// Two rows of one cell can both hold.
    #[error("{} in {}: rows to {} and {} can both hold", .event.name(), .from.name(), .to[0].name(), .to[1].name())]
    Overlap {
        /// The cell's event.
        event: Event,
        /// The cell's state.
        from: State,
        /// Where the two rows lead.
        to: [State; 2],
    },
}

const STATES: usize = State::ALL.len();
const EVENTS: usize = Event::ALL.len();

/// The rows of an event in a state: the first is in it, since most have one, so that a look-up is one load.
#[derive(Clone, Copy, Debug)]
struct Cell {
    first: u16,
    rows: u8,
    require_mask: u8,
    require_value: u8,
    to: State,
}

impl Cell {
    /// No row: a requirement that no guards fulfil.
    const EMPTY: Self = Self { first: 0, rows: 0, require_mask: 0, require_value: 1, to: State::Resident };
}

/// The law: which event takes a page from which state to which.
#[derive(Clone, Debug)]
pub struct Table {
    /// By event and state. Of known size and in place, so that an event's own row is one load from the table's address.
    cells: [[Cell; STATES]; EVENTS],
    rows: Vec<Row>,
    /// What each state demands of the flags: its first two alternatives `(mask, value)`, which may be the same, and the others.
    flags: [[(u16, u16); 2]; STATES],
    alternatives: Vec<Vec<(u16, u16)>>,
}

impl Default for Table {
    /// The table of the shipped definition.
    fn default() -> Self {
        let flags = STATE_FLAGS.iter().map(|alternatives| alternatives.to_vec()).collect();
        Self::new(ROWS.to_vec(), flags).expect("generated from a compiled definition")
    }
}

impl Table {
    /// Builds the cells of `rows`; `alternatives[state]` lists pairs `(mask, value)` of which the flags must fit one, where
    /// there are any.
    ///
    /// # Errors
    /// [`TableError`] for ids out of range and for rows of one cell that can both hold.
    pub fn new(mut rows: Vec<Row>, mut alternatives: Vec<Vec<(u16, u16)>>) -> Result<Self, TableError> {
        for (row, &Row { event, from, to, .. }) in rows.iter().enumerate() {
            if usize::from(event) >= EVENTS || usize::from(from.max(to)) >= STATES {
                return Err(TableError::Range { row, event, from, to });
            }
        }
        alternatives.resize(STATES, Vec::new());
        let mut flags = [[(0, 0); 2]; STATES];
        for (flags, others) in flags.iter_mut().zip(&mut alternatives) {
            let first: Vec<(u16, u16)> = others.drain(..others.len().min(2)).collect();
            if let (Some(&first), Some(&second)) = (first.first(), first.last()) {
                *flags = [first, second];
            }
        }
        rows.sort_by_key(|r| (r.event, r.from, r.require_mask, r.require_value));
        let mut cells = [[Cell::EMPTY; STATES]; EVENTS];
        for (i, row) in rows.iter().enumerate() {
            let cell = &mut cells[usize::from(row.event)][usize::from(row.from)];
            if cell.rows == 0 {
                let first = u16::try_from(i).expect("at most 256 x 256 cells of few rows");
                let &Row { require_mask, require_value, to, .. } = row;
                *cell = Cell { first, rows: 0, require_mask, require_value, to: State::from_id(to) };
            }
            cell.rows += 1;
        }
        let table = Self { cells, rows, flags, alternatives };
        table.check_disjoint()?;
        Ok(table)
    }

    /// Checks that a definition's names are the core's, in order.
    ///
    /// # Errors
    /// [`TableError::Name`] with the first difference.
    pub fn check_names(states: &[String], events: &[String]) -> Result<(), TableError> {
        check(states, &State::ALL.map(State::name), "state")?;
        check(events, &Event::ALL.map(Event::name), "event")
    }

    fn check_disjoint(&self) -> Result<(), TableError> {
        for (i, a) in self.rows.iter().enumerate() {
            for b in self.rows[i + 1..].iter().take_while(|b| (b.event, b.from) == (a.event, a.from)) {
                let both = a.require_mask & b.require_mask;
                if a.require_value & both == b.require_value & both {
                    let to = [a, b].map(|r| State::from_id(r.to));
                    let (event, from) = (Event::from_id(a.event), State::from_id(a.from));
                    return Err(TableError::Overlap { event, from, to });
                }
            }
        }
        Ok(())
    }

    /// Where `event` leads from `from` under `guards`, with the guard bits that the cell reads; `None` where the law
    /// has no such edge.
    #[inline(always)]
    pub fn next(&self, event: Event, from: State, guards: u8) -> Option<(State, u8)> {
        let cell = &self.cells[event as usize][from as usize];
        if guards & cell.require_mask == cell.require_value {
            return Some((cell.to, cell.require_value));
        }
        self.next_of_others(cell, guards)
    }

    #[inline(never)]
    fn next_of_others(&self, cell: &Cell, guards: u8) -> Option<(State, u8)> {
        let others = self.cell_rows(cell).get(1..)?;
        let row = others.iter().find(|row| guards & row.require_mask == row.require_value)?;
        Some((State::from_id(row.to), row.require_value))
    }

    /// The rows of one cell.
    pub fn rows_of(&self, event: Event, from: State) -> &[Row] {
        self.cell_rows(&self.cells[event as usize][from as usize])
    }

    fn cell_rows(&self, cell: &Cell) -> &[Row] {
        &self.rows[usize::from(cell.first)..usize::from(cell.first) + usize::from(cell.rows)]
    }

    /// Whether `state` permits `flags`.
    #[inline(always)]
    pub fn permits(&self, state: State, flags: u16) -> bool {
        let [first, second] = self.flags[state as usize];
        flags & first.0 == first.1 || flags & second.0 == second.1 || self.permits_otherwise(state, flags)
    }

    #[inline(never)]
    fn permits_otherwise(&self, state: State, flags: u16) -> bool {
        self.alternatives[state as usize].iter().any(|&(mask, value)| flags & mask == value)
    }

    /// All rows, sorted by event and state.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

fn check(got: &[String], want: &[&'static str], kind: &'static str) -> Result<(), TableError> {
    let longest = got.len().max(want.len());
    for index in 0..longest {
        let (g, w) = (got.get(index).map_or("", String::as_str), want.get(index).copied().unwrap_or(""));
        if g != w {
            return Err(TableError::Name { kind, index, got: g.into(), want: w });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_table_has_every_generated_row() {
        let table = Table::default();
        assert_eq!(table.rows().len(), ROWS.len());
        assert_eq!(table.next(Event::Queue, State::Unmapped, 0), Some((State::Queued, 0)));
        assert_eq!(table.next(Event::Queue, State::Resident, 0), None);
    }

    #[test]
    fn guards_choose_the_row_and_unread_bits_are_dropped() {
        use super::super::generated::guard::{MAPPED, WRITEBACK_ENABLED};
        let table = Table::default();
        let next = |guards| table.next(Event::Reject, State::Compressing, guards);
        assert_eq!(next(WRITEBACK_ENABLED | MAPPED), Some((State::WritingBack, WRITEBACK_ENABLED)));
        assert_eq!(next(MAPPED), Some((State::Activated, 0)));
    }

    #[test]
    fn overlapping_rows_are_refused_by_name() {
        let row = Row { event: 0, from: 0, require_mask: 1, require_value: 1, to: 1 };
        let wide = Row { require_mask: 0, require_value: 0, to: 2, ..row };
        let error = Table::new(vec![row, wide], Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "isolate in resident: rows to unmapped and isolated can both hold");
    }

    #[test]
    fn names_must_be_the_core_s() {
        let states: Vec<String> = State::ALL.iter().map(|s| s.name().into()).collect();
        let mut events: Vec<String> = Event::ALL.iter().map(|e| e.name().into()).collect();
        assert_eq!(Table::check_names(&states, &events), Ok(()));
        events.pop();
        let error = Table::check_names(&states, &events).unwrap_err();
        assert_eq!(error.to_string(), r#"event 25 is named "" in the definition and "split" in the core"#);
    }
}
