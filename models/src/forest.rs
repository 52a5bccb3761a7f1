//! Gradient-boosted trees: fitted by `forust-ml`, held in our own small form, from which they are
//! evaluated and exported.

use forust_ml::{
    GradientBooster, Matrix,
    constraints::{Constraint, ConstraintMap},
    errors::ForustError,
    tree::Tree as Fitted,
};
use thiserror::Error;

use crate::{prior::Direction, table::Table};

/// Trees in a forest. With the depth, what bounds the cost of a score.
const TREES: usize = 100;

/// Splits between root and leaf, at most.
const DEPTH: usize = 3;

/// Share of each tree's step that is taken (Friedman 2001, section 5, "shrinkage").
const LEARNING_RATE: f32 = 0.1;

/// Least weight in a leaf, in hessians: keeps a leaf from being about one row.
const LEAST_LEAF_WEIGHT: f32 = 0.5;

/// Trees whose leaves add up to log-odds.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    /// Log-odds before any tree has spoken.
    pub base: f32,
    /// The trees.
    pub trees: Vec<Tree>,
}

/// One tree; the root is node 0, and children come after their parent.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// One node of a tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Node {
    /// What the tree says here.
    Leaf(f32),
    /// Where to go on.
    Split {
        /// The column that is looked at.
        column: usize,
        /// Values below this go left.
        below: f32,
        /// Node for values below.
        left: usize,
        /// Node for all others.
        right: usize,
    },
}

impl Forest {
    /// Fits a forest to what a table may teach. Nothing is left to chance: the same table gives the
    /// same forest.
    pub fn fit(table: &Table) -> Result<Self, ForestError> {
        let table = &table.taught();
        let (Some(first), true) = (table.rows.first(), has_both_classes(table)) else {
            return Err(ForestError::OneClass);
        };
        let columns = first.values.len();
        let by_column: Vec<f64> = (0..columns)
            .flat_map(|column| {
                table
                    .rows
                    .iter()
                    .map(move |row| f64::from(row.values[column]))
            })
            .collect();
        let wanted: Vec<f64> = table
            .rows
            .iter()
            .map(|row| f64::from(u8::from(row.is_scraper())))
            .collect();
        let mut booster = GradientBooster::default()
            .set_iterations(TREES)
            .set_max_depth(DEPTH)
            .set_learning_rate(LEARNING_RATE)
            .set_min_leaf_weight(LEAST_LEAF_WEIGHT)
            // Its least leaf weight holds only then; no value of ours is missing.
            .set_allow_missing_splits(false)
            .set_monotone_constraints(Some(constraints(&table.directions)))
            .set_parallel(false);
        let matrix = Matrix::new(&by_column, table.rows.len(), columns);
        booster.fit(&matrix, &wanted, &table.weights(), None)?;
        Ok(Self {
            base: booster.base_score as f32,
            trees: booster
                .trees
                .iter()
                .map(Tree::of)
                .collect::<Result<_, _>>()?,
        })
    }

    /// How likely these values are a scraper's, 0..1; adds up in the order and precision in which
    /// ONNX Runtime does.
    pub fn score(&self, values: &[f32]) -> f32 {
        let odds: f32 = self.trees.iter().map(|tree| tree.say(values)).sum();
        1.0 / (1.0 + (-(odds + self.base)).exp())
    }
}

impl Tree {
    fn of(fitted: &Fitted) -> Result<Self, ForestError> {
        let mut tree = Self { nodes: Vec::new() };
        tree.copy(fitted, 0, 0)?;
        Ok(tree)
    }

    /// Copies what hangs below one node of the fitted tree; returns where it lies now.
    fn copy(&mut self, fitted: &Fitted, at: usize, depth: usize) -> Result<usize, ForestError> {
        let node = fitted.nodes.get(at).ok_or(ForestError::BrokenTree)?;
        let here = self.nodes.len();
        self.nodes.push(Node::Leaf(node.weight_value));
        if node.is_leaf {
            return Ok(here);
        }
        if depth == DEPTH {
            return Err(ForestError::BrokenTree);
        }
        let left = self.copy(fitted, node.left_child, depth + 1)?;
        let right = self.copy(fitted, node.right_child, depth + 1)?;
        self.nodes[here] = Node::Split {
            column: node.split_feature,
            below: at_or_above(node.split_value),
            left,
            right,
        };
        Ok(here)
    }

    fn say(&self, values: &[f32]) -> f32 {
        let mut at = 0;
        loop {
            match self.nodes[at] {
                Node::Leaf(weight) => return weight,
                Node::Split {
                    column,
                    below,
                    left,
                    right,
                } => at = if values[column] < below { left } else { right },
            }
        }
    }
}

/// The directions in the fitter's words. It keeps a split within the bounds that splits above have
/// set only where its own column has a direction, so a table has them for all columns or none.
fn constraints(directions: &[Direction]) -> ConstraintMap {
    let word = |direction: &Direction| match direction {
        Direction::Falls => Constraint::Negative,
        Direction::Free => Constraint::Unconstrained,
        Direction::Rises => Constraint::Positive,
    };
    directions.iter().map(word).enumerate().collect()
}

/// The least `f32` that is not below `value`: the same `f32`s are below both.
fn at_or_above(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value {
        near.next_up()
    } else {
        near
    }
}

fn has_both_classes(table: &Table) -> bool {
    let scrapers = table.rows.iter().filter(|row| row.is_scraper()).count();
    scrapers > 0 && scrapers < table.rows.len()
}

/// Why there is no forest.
#[derive(Debug, Error)]
pub enum ForestError {
    /// The fitted trees are not of the form that was asked for.
    #[error("the fitted trees are broken")]
    BrokenTree,
    /// The fit failed.
    #[error("fitting failed: {0}")]
    Fit(#[from] ForustError),
    /// Nothing to tell apart.
    #[error("a model needs both scrapers and welcome clients to learn from")]
    OneClass,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        prior::NOT_TAUGHT,
        recording::Label,
        table::tests::{row, table},
    };

    /// Scrapers have more of column 0; column 1 is noise.
    pub(crate) fn separable() -> Table {
        let rows = (0..200_u8).map(|at| {
            let scraper = at % 2 == 1;
            let label = if scraper {
                Label::Scraper
            } else {
                Label::Person
            };
            let telling = f32::from(at % 10) / 10.0 + f32::from(u8::from(scraper)) * 2.0;
            let client = format!("c{}", at % 8);
            row(&client, &client, label, &[telling, f32::from(at % 7)])
        });
        table(rows.collect())
    }

    #[test]
    fn forest_tells_apart_what_can_be_told_apart() {
        let table = separable();
        let forest = Forest::fit(&table).expect("a fit");
        for row in &table.rows {
            let score = forest.score(&row.values);
            assert_eq!(score > 0.5, row.is_scraper(), "{row:?} {score}");
        }
        assert_eq!(forest.trees.len(), TREES);
    }

    #[test]
    fn same_table_gives_the_same_forest() {
        let fit = |table: &Table| Forest::fit(table).expect("a fit");
        let mut table = separable();
        let first = fit(&table);
        assert_eq!(fit(&table), first);
        for family in NOT_TAUGHT {
            let unheard = row(family, "driver", Label::Scraper, &[0.0, 0.0]);
            table.rows.push(unheard);
        }
        assert_eq!(fit(&table), first);
        table.rows.truncate(150);
        assert_ne!(fit(&table), first);
    }

    #[test]
    fn no_column_moves_a_score_against_its_direction() {
        let mut table = separable();
        for (at, row) in table.rows.iter_mut().enumerate() {
            // Columns that would be used the wrong way round if they could be.
            row.values.push(f32::from(u8::from(!row.is_scraper())));
            row.values.push((at * 7 % 13) as f32);
        }
        table.directions = vec![
            Direction::Rises,
            Direction::Falls,
            Direction::Rises,
            Direction::Falls,
        ];
        let forest = Forest::fit(&table).expect("a fit");
        for row in &table.rows {
            for (column, direction) in table.directions.iter().enumerate() {
                let mut higher = row.values.clone();
                higher[column] += 3.0;
                let (before, after) = (forest.score(&row.values), forest.score(&higher));
                let rises = *direction == Direction::Rises;
                assert!(
                    if rises {
                        after >= before
                    } else {
                        after <= before
                    },
                    "{row:?} {column}"
                );
            }
        }
    }

    #[test]
    fn one_class_is_refused() {
        let rows = vec![row("a", "a", Label::Person, &[1.0])];
        for table in [table(rows), Table::default()] {
            assert!(matches!(Forest::fit(&table), Err(ForestError::OneClass)));
        }
    }

    #[test]
    fn narrowed_split_parts_the_same_values() {
        for value in [
            0.1_f64,
            -0.1,
            1.0,
            1e-40,
            f64::from(f32::MAX),
            0.3333333333333333,
        ] {
            let below = at_or_above(value);
            for candidate in [below.next_down(), below, below.next_up()] {
                assert_eq!(candidate < below, f64::from(candidate) < value, "{value}");
            }
        }
    }
}
