"""Every error nbprod raises on purpose, one module a room.

NbprodError
├── AlreadyPromotedError
├── ArtifactChangedError
├── ExportFolderError
├── GateError (ValueError)
│   ├── ContradictoryGateError
│   ├── GateDeclarationError
│   ├── UnknownGateError (LookupError)
│   └── UnknownGateKeyError (LookupError)
├── GpuInventoryError (ValueError)
├── JobError
│   ├── JobFileError (ValueError)
│   │   └── JobReferenceError
│   ├── MissingScrapError (LookupError)
│   ├── UnknownJobError (LookupError)
│   └── UnusableScrapError (TypeError)
├── KernelNotInstalledError (LookupError)
├── MLError
│   ├── DataNotFoundError (FileNotFoundError)
│   ├── DatasetNotAvailableError
│   ├── DuplicateIdsError (ValueError)
│   ├── EmptyDataError (ValueError)
│   ├── MissingColumnsError (LookupError)
│   ├── MissingExtraError (ImportError)
│   ├── MissingSplitColumnError (LookupError)
│   ├── ModelMismatchError (ValueError)
│   ├── ModelNotFoundError (LookupError)
│   ├── OneClassError (ValueError)
│   ├── OversizedTextError (ValueError)
│   ├── TooFewExamplesError (ValueError)
│   ├── UndecodableDataError (ValueError)
│   ├── UnknownDataFormatError (ValueError)
│   ├── UnreadableCardError (ValueError)
│   ├── UnreadableDataError (ValueError)
│   ├── UnresolvedReferenceError (ValueError)
│   ├── UnsafeModelError (ValueError)
│   └── UnusableColumnError (ValueError)
├── MlflowError
│   ├── MlflowAddressError (ValueError)
│   ├── MlflowIncompleteError
│   ├── MlflowModelError (LookupError)
│   └── MlflowUnreachableError (ConnectionError)
├── ModelFolderError (ValueError)
├── ModelFormatError (ValueError)
├── ModelNameError (ValueError)
├── ModelNotDeclaredError (LookupError)
├── ModelReferenceError (ValueError)
├── ModelReferenceNotFoundError (LookupError)
├── ModelTamperedError
├── NoExecutedNotebookError (LookupError)
├── NoModelScrapError (LookupError)
├── NotAFolderError (ValueError)
├── NotKeptWarmError
├── OverrideNeedsReasonError (ValueError)
├── ParameterError (ValueError)
│   ├── ForeignParametersError
│   ├── InvalidParameterError
│   ├── MissingParameterError
│   ├── NoParametersCellError
│   ├── ParameterTextError
│   └── UnknownParameterError (LookupError)
├── PromotionBlockedError
├── PromotionConflictError
├── RollbackError
├── RunNotSucceededError (ValueError)
├── RuntimeFolderError (OSError)
├── ScrapError
│   ├── MissingLibraryError (ImportError)
│   ├── MissingPathScrapError (FileNotFoundError)
│   ├── OutputNameError (ValueError)
│   ├── ScrapNameError (ValueError)
│   ├── SidecarDamagedError
│   └── UnencodableScrapError (TypeError)
├── SettingsError (ValueError)
├── StoreError
│   ├── AmbiguousRunError (LookupError)
│   ├── ArtifactDamagedError
│   ├── ArtifactMissingError (LookupError)
│   ├── ArtifactsUnreachableError
│   ├── DiskFullError
│   ├── GpusBusyError
│   ├── NewerStoreError
│   ├── NotAStoreError
│   ├── ReadOnlyError
│   ├── RunExistsError (FileExistsError)
│   ├── StaleFenceError
│   ├── StaleJobRunError
│   ├── StoreBusyError
│   ├── StoreDriverError (ImportError)
│   ├── StoreUnreachableError
│   ├── StoreUrlError (ValueError)
│   └── UnknownRunError (LookupError)
├── TemplateError (ValueError)
│   ├── FrontMatterError
│   │   └── UnknownKeyError (LookupError)
│   ├── ParametersCellError
│   ├── ScaffoldError
│   ├── UnknownTemplateError (LookupError)
│   └── UnreadableTemplateError
├── UnknownModelError (LookupError)
├── UnknownVersionError (LookupError)
├── UnknownZygoteError (LookupError)
├── WorkspaceExistsError (FileExistsError)
├── WorkspaceNotFoundError (FileNotFoundError)
└── YamlError (ValueError)
"""

from nbprod.core.errors.gates import (
    ContradictoryGateError,
    GateDeclarationError,
    GateError,
    UnknownGateError,
    UnknownGateKeyError,
)
from nbprod.core.errors.jobs import (
    JobError,
    JobFileError,
    JobReferenceError,
    MissingScrapError,
    UnknownJobError,
    UnusableScrapError,
)
from nbprod.core.errors.kernels import (
    NotKeptWarmError,
    RuntimeFolderError,
    UnknownZygoteError,
)
from nbprod.core.errors.ml import (
    DataNotFoundError,
    DatasetNotAvailableError,
    DuplicateIdsError,
    EmptyDataError,
    MissingColumnsError,
    MissingExtraError,
    MissingSplitColumnError,
    MLError,
    ModelMismatchError,
    ModelNotFoundError,
    OneClassError,
    OversizedTextError,
    TooFewExamplesError,
    UndecodableDataError,
    UnknownDataFormatError,
    UnreadableCardError,
    UnreadableDataError,
    UnresolvedReferenceError,
    UnsafeModelError,
    UnusableColumnError,
)
from nbprod.core.errors.notebook import (
    ForeignParametersError,
    FrontMatterError,
    InvalidParameterError,
    MissingParameterError,
    NoParametersCellError,
    ParameterError,
    ParametersCellError,
    ParameterTextError,
    ScaffoldError,
    TemplateError,
    UnknownKeyError,
    UnknownParameterError,
    UnknownTemplateError,
    UnreadableTemplateError,
    YamlError,
)
from nbprod.core.errors.registry import (
    AlreadyPromotedError,
    ExportFolderError,
    MlflowAddressError,
    MlflowError,
    MlflowIncompleteError,
    MlflowModelError,
    MlflowUnreachableError,
    ModelFolderError,
    ModelFormatError,
    ModelNameError,
    ModelReferenceError,
    ModelTamperedError,
    PromotionBlockedError,
    PromotionConflictError,
    RollbackError,
    UnknownModelError,
    UnknownVersionError,
)
from nbprod.core.errors.root import (
    NbprodError,
)
from nbprod.core.errors.runners import (
    GpuInventoryError,
    KernelNotInstalledError,
)
from nbprod.core.errors.scraps import (
    MissingLibraryError,
    MissingPathScrapError,
    OutputNameError,
    ScrapError,
    ScrapNameError,
    SidecarDamagedError,
    UnencodableScrapError,
)
from nbprod.core.errors.store import (
    AmbiguousRunError,
    ArtifactDamagedError,
    ArtifactMissingError,
    ArtifactsUnreachableError,
    DiskFullError,
    GpusBusyError,
    NewerStoreError,
    NotAStoreError,
    ReadOnlyError,
    RunExistsError,
    StaleFenceError,
    StaleJobRunError,
    StoreBusyError,
    StoreDriverError,
    StoreError,
    StoreUnreachableError,
    StoreUrlError,
    UnknownRunError,
)
from nbprod.core.errors.workspace import (
    ArtifactChangedError,
    ModelNotDeclaredError,
    ModelReferenceNotFoundError,
    NoExecutedNotebookError,
    NoModelScrapError,
    NotAFolderError,
    OverrideNeedsReasonError,
    RunNotSucceededError,
    SettingsError,
    WorkspaceExistsError,
    WorkspaceNotFoundError,
)

__all__ = [
    "AlreadyPromotedError",
    "AmbiguousRunError",
    "ArtifactChangedError",
    "ArtifactDamagedError",
    "ArtifactMissingError",
    "ArtifactsUnreachableError",
    "ContradictoryGateError",
    "DataNotFoundError",
    "DatasetNotAvailableError",
    "DiskFullError",
    "DuplicateIdsError",
    "EmptyDataError",
    "ExportFolderError",
    "ForeignParametersError",
    "FrontMatterError",
    "GateDeclarationError",
    "GateError",
    "GpuInventoryError",
    "GpusBusyError",
    "InvalidParameterError",
    "JobError",
    "JobFileError",
    "JobReferenceError",
    "KernelNotInstalledError",
    "MLError",
    "MissingColumnsError",
    "MissingExtraError",
    "MissingLibraryError",
    "MissingParameterError",
    "MissingPathScrapError",
    "MissingScrapError",
    "MissingSplitColumnError",
    "MlflowAddressError",
    "MlflowError",
    "MlflowIncompleteError",
    "MlflowModelError",
    "MlflowUnreachableError",
    "ModelFolderError",
    "ModelFormatError",
    "ModelMismatchError",
    "ModelNameError",
    "ModelNotDeclaredError",
    "ModelNotFoundError",
    "ModelReferenceError",
    "ModelReferenceNotFoundError",
    "ModelTamperedError",
    "NbprodError",
    "NewerStoreError",
    "NoExecutedNotebookError",
    "NoModelScrapError",
    "NoParametersCellError",
    "NotAFolderError",
    "NotAStoreError",
    "NotKeptWarmError",
    "OneClassError",
    "OutputNameError",
    "OverrideNeedsReasonError",
    "OversizedTextError",
    "ParameterError",
    "ParameterTextError",
    "ParametersCellError",
    "PromotionBlockedError",
    "PromotionConflictError",
    "ReadOnlyError",
    "RollbackError",
    "RunExistsError",
    "RunNotSucceededError",
    "RuntimeFolderError",
    "ScaffoldError",
    "ScrapError",
    "ScrapNameError",
    "SettingsError",
    "SidecarDamagedError",
    "StaleFenceError",
    "StaleJobRunError",
    "StoreBusyError",
    "StoreDriverError",
    "StoreError",
    "StoreUnreachableError",
    "StoreUrlError",
    "TemplateError",
    "TooFewExamplesError",
    "UndecodableDataError",
    "UnencodableScrapError",
    "UnknownDataFormatError",
    "UnknownGateError",
    "UnknownGateKeyError",
    "UnknownJobError",
    "UnknownKeyError",
    "UnknownModelError",
    "UnknownParameterError",
    "UnknownRunError",
    "UnknownTemplateError",
    "UnknownVersionError",
    "UnknownZygoteError",
    "UnreadableCardError",
    "UnreadableDataError",
    "UnreadableTemplateError",
    "UnresolvedReferenceError",
    "UnsafeModelError",
    "UnusableColumnError",
    "UnusableScrapError",
    "WorkspaceExistsError",
    "WorkspaceNotFoundError",
    "YamlError",
]
