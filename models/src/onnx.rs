//! Writing a forest as an ONNX model.
//!
//! Only the few messages of `onnx.proto` that a tree ensemble needs stand here, with the field
//! numbers of onnx/onnx.proto (IR version 10). The forest becomes one `TreeEnsembleRegressor`
//! (ai.onnx.ml 3), which adds up log-odds, and a `Sigmoid`: ONNX Runtime ignores the regressor's
//! own `LOGISTIC` where there is one target.

use prost::Message;

use crate::forest::{Forest, Node};

/// The name of the model's one input, `[n, columns]`.
const INPUT: &str = "features";

/// The name of the model's one output, `[n, 1]`.
const OUTPUT: &str = "score";

const LOG_ODDS: &str = "log_odds";

/// The bytes of an `.onnx` file that scores like `forest`.
pub fn encode(forest: &Forest, name: &str, columns: usize) -> Vec<u8> {
    let sigmoid = NodeProto {
        input: vec![LOG_ODDS.to_owned()],
        output: vec![OUTPUT.to_owned()],
        name: "probability".to_owned(),
        op_type: "Sigmoid".to_owned(),
        ..NodeProto::default()
    };
    let model = ModelProto {
        ir_version: Some(10),
        producer_name: "thornwall-train".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(GraphProto {
            node: vec![ensemble(forest), sigmoid],
            name: name.to_owned(),
            input: vec![matrix(INPUT, columns)],
            output: vec![matrix(OUTPUT, 1)],
        }),
        opset_import: vec![opset("", 21), opset("ai.onnx.ml", 3)],
    };
    model.encode_to_vec()
}

/// Columns of the ensemble's attributes: one entry for each node or leaf.
#[derive(Default)]
struct Columns {
    node_trees: Vec<i64>,
    node_ids: Vec<i64>,
    node_columns: Vec<i64>,
    node_modes: Vec<Vec<u8>>,
    node_values: Vec<f32>,
    node_true: Vec<i64>,
    node_false: Vec<i64>,
    leaf_trees: Vec<i64>,
    leaf_nodes: Vec<i64>,
    leaf_weights: Vec<f32>,
}

impl Columns {
    fn of(forest: &Forest) -> Self {
        let mut columns = Self::default();
        for (tree_id, tree) in forest.trees.iter().enumerate() {
            for (node_id, node) in tree.nodes.iter().enumerate() {
                columns.push(tree_id as i64, node_id as i64, *node);
            }
        }
        columns
    }

    fn push(&mut self, tree: i64, id: i64, node: Node) {
        self.node_trees.push(tree);
        self.node_ids.push(id);
        let (mode, column, value, left, right) = match node {
            Node::Leaf(weight) => {
                self.leaf_trees.push(tree);
                self.leaf_nodes.push(id);
                self.leaf_weights.push(weight);
                ("LEAF", 0, 0.0, 0, 0)
            }
            Node::Split {
                column,
                below,
                left,
                right,
            } => ("BRANCH_LT", column, below, left, right),
        };
        self.node_modes.push(mode.as_bytes().to_vec());
        self.node_columns.push(column as i64);
        self.node_values.push(value);
        self.node_true.push(left as i64);
        self.node_false.push(right as i64);
    }
}

fn ensemble(forest: &Forest) -> NodeProto {
    let columns = Columns::of(forest);
    let leaves = columns.leaf_nodes.len();
    NodeProto {
        input: vec![INPUT.to_owned()],
        output: vec![LOG_ODDS.to_owned()],
        name: "trees".to_owned(),
        op_type: "TreeEnsembleRegressor".to_owned(),
        domain: "ai.onnx.ml".to_owned(),
        attribute: vec![
            AttributeProto::string("aggregate_function", "SUM"),
            AttributeProto::floats("base_values", vec![forest.base]),
            AttributeProto::int("n_targets", 1),
            AttributeProto::ints("nodes_falsenodeids", columns.node_false),
            AttributeProto::ints("nodes_featureids", columns.node_columns),
            AttributeProto::strings("nodes_modes", columns.node_modes),
            AttributeProto::ints("nodes_nodeids", columns.node_ids),
            AttributeProto::ints("nodes_treeids", columns.node_trees),
            AttributeProto::ints("nodes_truenodeids", columns.node_true),
            AttributeProto::floats("nodes_values", columns.node_values),
            AttributeProto::string("post_transform", "NONE"),
            AttributeProto::ints("target_ids", vec![0; leaves]),
            AttributeProto::ints("target_nodeids", columns.leaf_nodes),
            AttributeProto::ints("target_treeids", columns.leaf_trees),
            AttributeProto::floats("target_weights", columns.leaf_weights),
        ],
    }
}

/// A float matrix with any number of rows.
fn matrix(name: &str, columns: usize) -> ValueInfoProto {
    let dimensions = vec![
        Dimension {
            dim_param: Some("n".to_owned()),
            ..Dimension::default()
        },
        Dimension {
            dim_value: Some(columns as i64),
            ..Dimension::default()
        },
    ];
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorType {
                elem_type: Some(FLOAT),
                shape: Some(TensorShapeProto { dim: dimensions }),
            }),
        }),
    }
}

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    }
}

/// `TensorProto.DataType.FLOAT`.
const FLOAT: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, optional, tag = "1")]
    ir_version: Option<i64>,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(string, tag = "3")]
    producer_version: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(string, optional, tag = "1")]
    domain: Option<String>,
    #[prost(int64, optional, tag = "2")]
    version: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    s: Option<Vec<u8>>,
    #[prost(float, repeated, tag = "7")]
    floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    strings: Vec<Vec<u8>>,
    /// `AttributeProto.AttributeType`.
    #[prost(int32, optional, tag = "20")]
    r#type: Option<i32>,
}

impl AttributeProto {
    fn typed(name: &str, r#type: i32) -> Self {
        Self {
            name: name.to_owned(),
            r#type: Some(r#type),
            ..Self::default()
        }
    }

    fn int(name: &str, value: i64) -> Self {
        Self {
            i: Some(value),
            ..Self::typed(name, 2)
        }
    }

    fn string(name: &str, value: &str) -> Self {
        Self {
            s: Some(value.as_bytes().to_vec()),
            ..Self::typed(name, 3)
        }
    }

    fn floats(name: &str, floats: Vec<f32>) -> Self {
        Self {
            floats,
            ..Self::typed(name, 6)
        }
    }

    fn ints(name: &str, ints: Vec<i64>) -> Self {
        Self {
            ints,
            ..Self::typed(name, 7)
        }
    }

    fn strings(name: &str, strings: Vec<Vec<u8>>) -> Self {
        Self {
            strings,
            ..Self::typed(name, 8)
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, optional, tag = "1")]
    elem_type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tempfile::TempDir;
    use thornwall_detectors::{
        features::COUNT,
        model::{Card, Model, init_runtime},
    };

    use super::*;
    use crate::{
        recording::Label,
        table::{Table, tests, tests::row},
    };

    /// Puts a model and its card into a folder and loads it.
    fn load(folder: &TempDir, onnx: &[u8]) -> Result<Model, String> {
        let models = Path::new(env!("CARGO_MANIFEST_DIR"));
        init_runtime(None, models).unwrap_or_else(|error| panic!("{error}"));
        let path = folder.path().join("test.onnx");
        let card = serde_json::to_vec(&Card::ours("test", 0.5, onnx)).expect("JSON");
        fs::write(&path, onnx).expect("a temporary file");
        fs::write(path.with_extension("json"), card).expect("a temporary file");
        Model::load(&path, 2).map_err(|error| error.to_string())
    }

    fn folder() -> TempDir {
        tempfile::tempdir().expect("a folder for temporary files")
    }

    fn table() -> Table {
        let rows = (0..120_u16).map(|at| {
            let mut values = [0.0; COUNT];
            for (column, value) in values.iter_mut().enumerate().take(9) {
                *value = f32::from(at * 7 % (column as u16 + 2)) / 8.0;
            }
            let label = if at * 5 % 11 > 4 {
                Label::Scraper
            } else {
                Label::Person
            };
            row("f", &format!("c{}", at % 5), label, &values)
        });
        tests::table(rows.collect())
    }

    #[test]
    fn onnx_runtime_scores_like_the_forest() {
        let table = table();
        let forest = Forest::fit(&table).expect("a fit");
        let folder = folder();
        let model = load(&folder, &encode(&forest, "test", COUNT)).expect("it loads");
        std::thread::scope(|scope| {
            // More threads than sessions.
            for _ in 0..4 {
                scope.spawn(|| {
                    for row in &table.rows {
                        let features = row.values.first_chunk().expect("as many as features");
                        let score = model.score(features).expect("a score");
                        assert!((score - forest.score(features)).abs() < 1e-5);
                    }
                });
            }
        });
    }

    #[test]
    fn what_is_no_model_of_ours_is_refused() {
        let forest = Forest::fit(&table()).expect("a fit");
        let good = encode(&forest, "test", COUNT);
        let folder = folder();
        assert!(load(&folder, &good).is_ok());
        for bad in [&b""[..], b"nonsense", &good[..good.len() / 2]] {
            let said = load(&folder, bad).expect_err("it is no model");
            assert!(said.starts_with("onnx runtime: "), "{said}");
        }
        let said = load(&folder, &encode(&forest, "test", COUNT + 1)).expect_err("too wide");
        assert!(said.contains("onnx runtime: "), "{said}");
    }

    #[test]
    fn model_without_its_card_or_with_another_file_is_refused() {
        let forest = Forest::fit(&table()).expect("a fit");
        let folder = folder();
        load(&folder, &encode(&forest, "test", COUNT)).expect("it loads");
        let path = folder.path().join("test.onnx");
        fs::write(&path, b"another").expect("a temporary file");
        let load_again = || {
            Model::load(&path, 1)
                .map(|_| ())
                .map_err(|error| error.to_string())
        };
        assert!(load_again().is_err_and(|said| said.contains("onnx_sha256")));
        fs::remove_file(path.with_extension("json")).expect("it was written");
        assert!(load_again().is_err_and(|said| said.contains("test.json")));
    }
}
