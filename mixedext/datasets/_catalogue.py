"""What is known of each data set: where it comes from, what its columns mean, the levels of its factors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["CATALOGUE", "DataSet"]


class DataSet(NamedTuple):
    """One data set.

    `factors` maps each categorical column to its levels in order, the reference level first; None stands for
    the natural order, numeric where every level is a number and alphabetical otherwise.
    """

    description: str
    source: str
    columns: Mapping[str, str]
    factors: Mapping[str, tuple[str, ...] | None]


_DAVIES = (
    "O. L. Davies and P. L. Goldsmith (eds) (1972), Statistical Methods in Research and Production, "
    "4th edition, Oliver and Boyd, Edinburgh, section {section}. {package}"
)

CATALOGUE: Mapping[str, DataSet] = MappingProxyType(
    {
        "Dyestuff": DataSet(
            description=(
                "Yield of a dyestuff, Naphthalene Black 12B, from five preparations made of each of six "
                "batches of an intermediate product, H-acid: how much of the variation is between batches?"
            ),
            source=_DAVIES.format(section="6.4", package="R: lme4::Dyestuff."),
            columns={
                "Batch": "batch of the intermediate product, A to F",
                "Yield": "yield of dyestuff (grams of standard colour)",
            },
            factors={"Batch": None},
        ),
        "Dyestuff2": DataSet(
            description=(
                "Artificial data of the same form as Dyestuff, constructed so that the mean square between "
                "batches is less than the one within: the estimated variance between batches is zero."
            ),
            source=(
                "G. E. P. Box and G. C. Tiao (1973), Bayesian Inference in Statistical Analysis, "
                "Addison-Wesley, Reading, section 5.1.2. R: lme4::Dyestuff2."
            ),
            columns={"Batch": "batch, A to F", "Yield": "yield (made-up numbers without a unit)"},
            factors={"Batch": None},
        ),
        "Machines": DataSet(
            description=(
                "Productivity of six workers, chosen at random among the employees of a factory, each of "
                "whom operated each of three brands of machine three times."
            ),
            source=(
                "G. A. Milliken and D. E. Johnson (1992), Analysis of Messy Data, volume I: Designed "
                "Experiments, Chapman and Hall, London, p. 285; J. C. Pinheiro and D. M. Bates (2000), "
                "Mixed-Effects Models in S and S-PLUS, Springer, New York, appendix A.14. R: "
                "nlme::Machines."
            ),
            columns={
                "Worker": "worker; levels in the order of their highest score",
                "Machine": "brand of machine, A to C",
                "score": "productivity score, of the number and the quality of the components produced",
            },
            factors={"Worker": ("6", "2", "4", "1", "3", "5"), "Machine": None},
        ),
        "Oats": DataSet(
            description=(
                "A split-plot experiment: six blocks of three whole plots, to which three varieties of oats "
                "were assigned at random, each plot split into four subplots with different concentrations "
                "of nitrogen."
            ),
            source=(
                "F. Yates (1935), Complex experiments, Supplement to the Journal of the Royal Statistical "
                "Society 2, 181-247; J. C. Pinheiro and D. M. Bates (2000), Mixed-Effects Models in S and "
                "S-PLUS, Springer, New York, appendix A.15. R: nlme::Oats."
            ),
            columns={
                "Block": "block, I to VI; levels in the order of their highest yield",
                "Variety": "variety of oats, the whole-plot treatment",
                "nitro": "nitrogen, the subplot treatment (hundredweight per acre)",
                "yield": "yield of the subplot (bushels per acre)",
            },
            factors={"Block": ("VI", "V", "III", "IV", "II", "I"), "Variety": None},
        ),
        "Pastes": DataSet(
            description=(
                "Strength of a chemical paste: two assays of each of three casks sampled at random from "
                "each of ten deliveries. Casks are nested in batches; `sample` numbers them uniquely, "
                "`cask` does not."
            ),
            source=_DAVIES.format(section="6.5", package="R: lme4::Pastes."),
            columns={
                "strength": "strength of the paste",
                "batch": "delivery batch, A to J",
                "cask": "cask within the batch, a to c",
                "sample": "batch and cask together, A:a to J:c",
            },
            factors={"batch": None, "cask": None, "sample": None},
        ),
        "Penicillin": DataSet(
            description=(
                "Six samples of penicillin, each tested on each of 24 plates by the Bacillus subtilis plate "
                "method: two completely crossed random factors."
            ),
            source=_DAVIES.format(section="6.6", package="R: lme4::Penicillin."),
            columns={
                "diameter": "diameter of the zone in which the growth of the organism is inhibited (mm)",
                "plate": "assay plate, a to x",
                "sample": "penicillin sample, A to F",
            },
            factors={"plate": None, "sample": None},
        ),
        "cbpp": DataSet(
            description=(
                "New serological cases of contagious bovine pleuropneumonia in a follow-up survey of zebu "
                "cattle in 15 commercial herds in the Boji district of Ethiopia, whose animals were tested "
                "each quarter."
            ),
            source=(
                "M. Lesnoff, G. Laval, P. Bonnet, S. Abdicho, A. Workalemahu, D. Kifle, A. Peyraud, R. "
                "Lancelot and F. Thiaucourt (2004), Within-herd spread of contagious bovine pleuropneumonia "
                "in Ethiopian highlands, Preventive Veterinary Medicine 64, 27-40. R: lme4::cbpp."
            ),
            columns={
                "herd": "herd, 1 to 15",
                "incidence": "new serological cases in the herd in the period",
                "size": "size of the herd at the beginning of the period",
                "period": "period, 1 to 4",
            },
            factors={"herd": None, "period": None},
        ),
        "grouseticks": DataSet(
            description=(
                "Ticks on the heads of red grouse chicks sampled in the field, chicks in broods and broods "
                "at locations: counts with more variation than a Poisson distribution has."
            ),
            source=(
                "D. A. Elston, R. Moss, T. Boulinier, C. Arrowsmith and X. Lambin (2001), Analysis of "
                "aggregation, a worked example: numbers of ticks on red grouse chicks, Parasitology 122, "
                "563-569; data from Robert Moss by way of David Elston. R: lme4::grouseticks."
            ),
            columns={
                "INDEX": "chick, one for each row",
                "TICKS": "number of ticks on the chick",
                "BROOD": "brood",
                "HEIGHT": "height above sea level (m)",
                "YEAR": "year, less 1900",
                "LOCATION": "location",
                "cHEIGHT": "HEIGHT less its mean (m)",
            },
            factors={"INDEX": None, "BROOD": None, "YEAR": None, "LOCATION": None},
        ),
        "sleepstudy": DataSet(
            description=(
                "Reaction times of 18 subjects on ten days of a study of sleep deprivation, of the group "
                "that was restricted to three hours in bed. Days 0 and 1 were adaptation and training, day "
                "2 the baseline; the restriction of sleep began after day 2."
            ),
            source=(
                "G. Belenky, N. J. Wesensten, D. R. Thorne, M. L. Thomas, H. C. Sing, D. P. Redmond, M. B. "
                "Russo and T. J. Balkin (2003), Patterns of performance degradation and restoration during "
                "sleep restriction and subsequent recovery: a sleep dose-response study, Journal of Sleep "
                "Research 12, 1-12. R: lme4::sleepstudy."
            ),
            columns={
                "Reaction": "average reaction time on the day (ms)",
                "Days": "day of the study, 0 to 9",
                "Subject": "number of the subject",
            },
            factors={"Subject": None},
        ),
    }
)
