//! What the programs that the catalogue knows are for.

use super::Claim;

macro_rules! purposes {
    ($($(#[$doc:meta])* $purpose:ident = $name:literal,)+) => {
        /// What a program that the catalogue knows is for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Purpose { $($(#[$doc])* $purpose,)+ }

        impl Purpose {
            /// Every purpose, in the order of its name.
            pub const ALL: &'static [Self] = &[$(Self::$purpose,)+];

            /// The name in evidence and in manuals.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$purpose => $name,)+ }
            }
        }
    };
}

purposes! {
    /// Fetches a page since the user of an AI assistant asked for it.
    AiAssistant = "AI assistant",
    /// Gathers text for a search engine that answers with AI.
    AiSearch = "AI search",
    /// Gathers text or images to train models.
    AiTraining = "AI training",
    /// What applications for telephones and desktops are built with, which is all that many of
    /// them say.
    App = "application",
    /// Keeps the web for later readers.
    Archive = "archive",
    /// A delivery network or proxy between a site and its readers.
    Delivery = "delivery network",
    /// A television, console, e-reader or set-top box.
    Device = "device",
    /// A server of the fediverse or of a federated chat.
    Federation = "federation",
    /// Reads feeds for a person.
    FeedReader = "feed reader",
    /// Runs a home and shows what stands on the web.
    HomeAutomation = "home automation",
    /// Shows what a link leads to that a person has shared, or looks at it for one.
    LinkPreview = "link preview",
    /// Reads mail, or brings the images in it.
    Mail = "mail",
    /// Gathers for its owner's own interest: rank trackers, brand monitors, advertisers.
    Marketing = "marketing",
    /// Plays sound and film.
    MediaPlayer = "media player",
    /// Looks whether a site is up, or a balancer's server healthy.
    Monitor = "monitor",
    /// Opens the links of documents.
    Office = "office",
    /// Installs packages, images and modules.
    PackageManager = "package manager",
    /// Fetches episodes for a listener.
    Podcast = "podcast",
    /// Brings a site its readers.
    SearchEngine = "search engine",
    /// Validators, audits and certificate authorities: the operator has asked for it.
    SiteCheck = "site check",
    /// Keeps calendars, contacts, files and backups the same here and there.
    Sync = "synchronisation",
    /// Clones and fetches repositories.
    VersionControl = "version control",
    /// Notifies a site of what has happened elsewhere.
    Webhook = "webhook",
}

impl Purpose {
    /// What a client with this purpose claims to be.
    pub const fn claim(self) -> Claim {
        match self {
            Self::AiAssistant | Self::AiSearch | Self::AiTraining => Claim::AiCrawler,
            Self::Marketing => Claim::DeclaredBot,
            _ => Claim::Program(self),
        }
    }

    /// Whether a program with this purpose walks a site by itself, from link to link.
    pub const fn walks(self) -> bool {
        matches!(
            self,
            Self::AiSearch
                | Self::AiTraining
                | Self::Archive
                | Self::Marketing
                | Self::SearchEngine
        )
    }

    /// Whether a person reads, hears or watches with it what a site offers for that.
    pub const fn is_for_audience(self) -> bool {
        matches!(self, Self::FeedReader | Self::MediaPlayer | Self::Podcast)
    }

    /// Whether the methods of WebDAV (RFC 4918) are what such a program works with.
    pub const fn speaks_webdav(self) -> bool {
        matches!(
            self,
            Self::Mail | Self::Office | Self::Sync | Self::VersionControl
        )
    }
}
