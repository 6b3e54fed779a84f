/** Why a resource was not accepted. `field` is its path, such as `entry[3].valueQuantity.code`. */
export interface FhirErrorDetail {
  code: 'ERR_FHIR_INVALID'
  field: string
}

/** The one error that this package throws for resources from outside. Its message names the field and the reason, never a value of a patient. */
export class FhirError extends Error {
  override readonly name = 'FhirError'
  readonly detail: FhirErrorDetail
  constructor(message: string, detail: FhirErrorDetail, options?: ErrorOptions) {
    super(message, options)
    this.detail = detail
  }
}
