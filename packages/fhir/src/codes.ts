/** Code systems and the codes of readings: LOINC and UCUM as the R4 vital signs profiles have them, IEEE 11073 for ECG leads. */
import type { VitalSign } from '@healthblock/diagnosis/batch'

/** Addresses of code systems. */
export const systems = {
  loinc: 'http://loinc.org',
  snomed: 'http://snomed.info/sct',
  ucum: 'http://unitsofmeasure.org',
  mdc: 'urn:iso:std:iso:11073:10101',
  category: 'http://terminology.hl7.org/CodeSystem/observation-category',
  own: 'urn:healthblock:finding',
} as const

/** How a vital sign stands in an Observation. */
export interface SignCode {
  /** The first is that of the profile. */
  loinc: readonly { code: string; display: string }[]
  /** UCUM code, and the unit that people read. */
  ucum: string
  unit: string
  category: 'vital-signs' | 'laboratory' | 'exam' | 'therapy'
}

/** Signs with a number; pressures stand in one panel, consciousness is a code. */
export const signCodes: Partial<Record<VitalSign, SignCode>> = {
  'heart-rate': {
    loinc: [{ code: '8867-4', display: 'Heart rate' }],
    ucum: '/min',
    unit: 'beats/minute',
    category: 'vital-signs',
  },
  'respiratory-rate': {
    loinc: [{ code: '9279-1', display: 'Respiratory rate' }],
    ucum: '/min',
    unit: 'breaths/minute',
    category: 'vital-signs',
  },
  spo2: {
    loinc: [
      { code: '2708-6', display: 'Oxygen saturation in Arterial blood' },
      { code: '59408-5', display: 'Oxygen saturation in Arterial blood by Pulse oximetry' },
    ],
    ucum: '%',
    unit: '%',
    category: 'vital-signs',
  },
  temperature: {
    loinc: [{ code: '8310-5', display: 'Body temperature' }],
    ucum: 'Cel',
    unit: 'C',
    category: 'vital-signs',
  },
  pulse: {
    loinc: [{ code: '8889-8', display: 'Heart rate by Pulse oximetry' }],
    ucum: '/min',
    unit: 'beats/minute',
    category: 'exam',
  },
  glucose: {
    loinc: [{ code: '2339-0', display: 'Glucose [Mass/volume] in Blood' }],
    ucum: 'mg/dL',
    unit: 'mg/dL',
    category: 'laboratory',
  },
  'supplemental-oxygen': {
    loinc: [{ code: '3151-8', display: 'Inhaled oxygen flow rate' }],
    ucum: 'L/min',
    unit: 'L/min',
    category: 'therapy',
  },
}

/** LOINC codes that are read besides those that are written. */
export const readCodes: Readonly<Record<string, VitalSign>> = {
  '8867-4': 'heart-rate',
  '9279-1': 'respiratory-rate',
  '2708-6': 'spo2',
  '59408-5': 'spo2',
  '8310-5': 'temperature',
  '8889-8': 'pulse',
  '2339-0': 'glucose',
  '99504-3': 'glucose',
  '3151-8': 'supplemental-oxygen',
}

/** The panel of blood pressure and its parts. */
export const pressure = {
  panel: { code: '85354-9', display: 'Blood pressure panel with all children optional' },
  systolic: { code: '8480-6', display: 'Systolic blood pressure' },
  diastolic: { code: '8462-4', display: 'Diastolic blood pressure' },
  ucum: 'mm[Hg]',
  unit: 'mmHg',
} as const

/** Level of consciousness: SNOMED CT concept by the value in a batch (0 alert to 4 unresponsive). */
export const consciousness = {
  loinc: { code: '67775-7', display: 'Level of responsiveness' },
  levels: [
    { code: '248234008', display: 'Mentally alert' },
    { code: '130987000', display: 'Acute confusion' },
    { code: '300202002', display: 'Response to voice' },
    { code: '450847001', display: 'Responds to pain' },
    { code: '422768004', display: 'Unresponsive' },
  ],
} as const

/** An ECG as a whole. */
export const ecgCode = { code: '131328', display: 'MDC_ECG_ELEC_POTL' } as const
/** Leads by their name in a batch. Recorders' own leads (`mlii`) have no code; they stand as text. */
export const leadCodes: Readonly<Record<string, { code: string; display: string }>> = {
  i: { code: '131329', display: 'MDC_ECG_ELEC_POTL_I' },
  ii: { code: '131330', display: 'MDC_ECG_ELEC_POTL_II' },
  iii: { code: '131389', display: 'MDC_ECG_ELEC_POTL_III' },
  avr: { code: '131390', display: 'MDC_ECG_ELEC_POTL_AVR' },
  avl: { code: '131391', display: 'MDC_ECG_ELEC_POTL_AVL' },
  avf: { code: '131392', display: 'MDC_ECG_ELEC_POTL_AVF' },
  v1: { code: '131331', display: 'MDC_ECG_ELEC_POTL_V1' },
  v2: { code: '131332', display: 'MDC_ECG_ELEC_POTL_V2' },
  v3: { code: '131333', display: 'MDC_ECG_ELEC_POTL_V3' },
  v4: { code: '131334', display: 'MDC_ECG_ELEC_POTL_V4' },
  v5: { code: '131335', display: 'MDC_ECG_ELEC_POTL_V5' },
  v6: { code: '131336', display: 'MDC_ECG_ELEC_POTL_V6' },
}
