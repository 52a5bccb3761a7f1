//! The vocabulary: the papers of a county survey that never took place. Written for this project.
//!
//! All entries are lower-case ASCII without characters that a markup or a path would escape.
//! Verbs are regular, so that their past serves as participle too.

/// Names of the folder that the links of a site lie in.
pub(crate) const SECTIONS: &[&str] = &[
    "almanac", "annals", "archive", "articles", "briefs", "bulletin", "catalogue", "chronicle",
    "collection", "columns", "contents", "digest", "documents", "editions", "entries", "essays",
    "features", "files", "folios", "gazette", "guides", "history", "index", "issues", "journal",
    "letters", "library", "listings", "materials", "notes", "pages", "papers", "posts", "reading",
    "records", "reference", "reports", "resources", "series", "stories", "studies", "topics",
    "updates", "volumes",
];

/// Things, in the singular; each takes a plural in s.
pub(crate) const NOUNS: &[&str] = &[
    "aqueduct", "archive", "barn", "basin", "beacon", "boundary stone", "bridge", "brook", "canal",
    "cellar", "chapel", "chart", "cistern", "clock", "cottage", "courtyard", "culvert", "dam",
    "drain", "embankment", "engine house", "farm", "fence", "field", "footpath", "ford", "furnace",
    "garden", "gauge", "granary", "harbour", "hedge", "hill", "inlet", "inn", "kiln", "lantern",
    "ledger", "lighthouse", "lock", "loom", "manor", "market", "meadow", "mill", "millrace",
    "mooring", "nursery bed", "orchard", "parish", "pasture", "pier", "plough", "pond", "pump",
    "quarry", "quay", "reservoir", "ridge", "river", "road", "schoolroom", "shed", "shoreline",
    "signal tower", "slipway", "sluice", "spring", "stable", "stream", "terrace", "tollhouse",
    "towpath", "tunnel", "vineyard", "wall", "warehouse", "water wheel", "weir", "well",
    "wharf wall", "windmill", "workshop",
];

/// What things are like.
pub(crate) const ADJECTIVES: &[&str] = &[
    "abandoned", "ancient", "brick", "broad", "carved", "central", "cold", "common", "covered",
    "crooked", "damp", "deep", "distant", "dry", "early", "eastern", "eastward", "empty",
    "familiar", "flooded", "former", "gravel", "heavy", "high", "inland", "large", "later", "long",
    "low", "lower", "main", "narrow", "neighbouring", "northern", "old", "open", "original",
    "painted", "plain", "principal", "quiet", "rebuilt", "repaired", "rural", "second", "shallow",
    "sheltered", "silted", "sloping", "small", "southern", "steep", "stone", "tidal", "timber",
    "unfinished", "upper", "vaulted", "western", "whitewashed", "wide", "wooded",
];

/// What people did to things, and what was done with them.
pub(crate) const VERBS: &[&str] = &[
    "adjusted", "altered", "cleaned", "cleared", "closed", "compared", "completed", "copied",
    "covered", "deepened", "described", "drained", "enlarged", "examined", "extended", "finished",
    "improved", "inspected", "levelled", "listed", "marked", "measured", "mentioned", "moved",
    "numbered", "opened", "painted", "patched", "photographed", "planned", "raised", "recorded",
    "registered", "relaid", "removed", "renamed", "repaired", "replaced", "restored", "reviewed",
    "sketched", "straightened", "supported", "surveyed", "traced", "valued", "visited", "widened",
];

/// People, as the subjects of sentences.
pub(crate) const PEOPLE: &[&str] = &[
    "apprentice", "assessor", "boatman", "brewer", "builder", "carpenter", "carrier", "clerk",
    "cooper", "curate", "draughtsman", "engineer", "farmer", "ferryman", "gardener", "glazier",
    "harbour master", "innkeeper", "keeper", "labourer", "landowner", "mason", "merchant", "miller",
    "overseer", "painter", "printer", "registrar", "schoolmaster", "shepherd", "smith", "steward",
    "surveyor", "tenant", "thatcher", "toll collector", "treasurer", "visitor", "warden", "weaver",
    "wheelwright",
];

/// Where it was; stands after a noun or at the end of a sentence.
pub(crate) const PLACES: &[&str] = &[
    "above the falls", "across the valley", "along the coast road", "along the ridge",
    "at the edge of the marsh", "at the head of the valley", "at the mouth of the river",
    "behind the granary", "below the church", "beside the canal", "beyond the common",
    "by the ferry landing", "close to the parish line", "downstream of the bridge",
    "in the lower town", "in the market square", "in the upper meadows", "near the crossing",
    "near the old quay", "north of the village", "on the far bank", "on the hillside",
    "on the road to the coast", "opposite the tollhouse", "outside the town wall",
    "south of the river", "two miles inland", "under the hill", "upstream of the mill",
    "within sight of the sea",
];

/// When it was; may open a sentence.
pub(crate) const TIMES: &[&str] = &[
    "after the harvest", "after the second flood", "at the end of the season",
    "before the first frost", "before the war", "by the end of that year", "during the dry summer",
    "during the repairs", "for most of the winter", "in a single season", "in early spring",
    "in later years", "in the following decade", "in the same month", "in the wet years",
    "over the next few years", "shortly afterwards", "some years earlier", "towards midsummer",
    "until the railway came", "within a generation",
];

/// What things were made of.
pub(crate) const MATERIALS: &[&str] = &[
    "ash", "brick", "chalk", "clay", "copper", "elm", "flint", "granite", "gravel", "iron", "larch",
    "lead", "limestone", "oak", "pine", "plaster", "reed", "sandstone", "slate", "straw", "tile",
    "turf", "whitewashed stone", "willow",
];

/// What was carried, stored and sold.
pub(crate) const GOODS: &[&str] = &[
    "apples", "barley", "charcoal", "cider", "coal", "cordwood", "flax", "flour", "grain", "hay",
    "herring", "hides", "hops", "lamp oil", "lime", "linen", "malt", "oats", "peat", "rye", "salt",
    "seed", "tallow", "timber", "wax", "wheat", "wool", "yarn",
];

/// How it was done.
pub(crate) const MANNERS: &[&str] = &[
    "again", "by hand", "carefully", "gradually", "in haste", "in part", "in stages",
    "more than once", "promptly", "quietly", "slowly", "steadily", "thoroughly", "twice",
    "with care", "without delay",
];

/// Sentences. What follows a percent sign is drawn from the lists: `a` adjective, `d` a small
/// number, `g` goods, `m` material, `n` noun, `N` nouns, `p` person, `q` manner, `t` time, `v`
/// verb, `w` place, `x` adjective with its article, `y` year.
pub(crate) const SENTENCES: &[&str] = &[
    "The %a %n %w was %v %t.",
    "%t the %p %v the %n and left the %a %n as it was.",
    "According to the %p, the %n was %v %q in %y.",
    "Most of the %N %w are built of %m, and a few of %m.",
    "%x %n stands %w, about %d paces from the %n.",
    "The survey of %y lists %d %N, of which only a few were %v.",
    "No drawing of the %a %n has been found, although the %p %v it %q.",
    "The %p kept a record of every %n that was %v %w.",
    "It is likely that the %n was %v before the %a %n was begun.",
    "%t, %g was carried from the %n to the %n %w.",
    "The cost of the %m was shared between the %p and the %p.",
    "Where the %a road meets the %n, %x %n was %v in %y.",
    "The %n is %d feet wide and rests on a bed of %m.",
    "Two of the %N were %v %q; the third was never finished.",
    "The %p reported that the %n needed new %m %t.",
    "Visitors are often surprised by the %a %n %w.",
    "The %a side of the %n faces the %n and is lined with %m.",
    "In %y the %n was %v, and the %g was sold.",
    "The %N %w were %v %q, which the %p regretted.",
    "A letter from the %p mentions %d loads of %g for the %n.",
    "The older %N can be told from the later ones by their %m.",
    "Water from the %n reached the %a %n only %t.",
    "%t the %N were numbered, and the %a %n became number %d.",
    "The accounts for %y show that the %p was paid for %d days.",
    "Little is known about the %n, except that it was %v %t.",
    "From the %n the path follows the %a %n and ends %w.",
    "The %p and the %p disagreed about the %n for %d years.",
    "Because the ground was soft, the %n was %v with %m and %m.",
    "The %a %n, which the %p had %v, was opened in %y.",
    "Of the %N that were planned, the %a one was %v first.",
    "Each %n was %v %q before the %g arrived.",
    "The map shows the %n %w, but the %n is missing.",
    "The %n measured %d by %d feet and had walls of %m.",
    "When the %p returned, the %n had been %v %q.",
    "The present %n dates from %y and replaced %x %n.",
    "Repairs to the %n took longer than the %p had expected.",
    "There were once %d %N here, and their traces can be seen %w.",
    "A second %n was added %t, this time of %m.",
    "The %n was let to the %p for %d shillings a year.",
    "As late as %y, the %p still used the %n to store %g.",
    "Some %d barrels of %g were lost when the %n was %v %t.",
    "The %p paid for the %m, the %p for the %g.",
    "Only the %a wall of the %n is of %m; the rest was %v in %y.",
    "Nobody could tell the %p why the %n had been %v %q.",
    "The price of %g fell %t, and the %n stood empty.",
    "Seen from the %n, the %a %n seems to lie %w.",
    "In dry years the %n was used by the %p, in wet years by the %p.",
    "The name of the %n comes from the %a %n %w.",
];

/// Headings, with the same marks.
pub(crate) const TITLES: &[&str] = &[
    "The %a %n",
    "The %n and the %n",
    "Notes on the %a %n",
    "%N %w",
    "The %p and the %n",
    "%g and %g",
    "A history of the %a %n",
    "The %N of %y",
    "Building with %m",
    "How the %n was %v",
    "The %n %w",
    "Records of the %p",
    "%a %N",
    "The %n before %y",
    "The trade in %g",
    "On the price of %g",
];
